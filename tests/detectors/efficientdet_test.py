"""EfficientDet's gin files against the sizes and costs that its authors publish (google/automl, README)."""

import copy
import types

import gin
import pytest
import tensorflow as tf

import tf_frozen.training.run  # noqa: F401 (what detectors/*.gin bind)
from tf_frozen.config.load import load_config
from tf_frozen.freezing.flops import multiply_adds
from tf_frozen.freezing.savings import savings
from tf_frozen.layers.building import unallocated

# Parameters in millions, multiply-adds of a forward pass in billions. README and paper differ on D5's: 130 and 135.
PUBLISHED = {
    "d0": (3.9, 2.5),
    "d1": (6.6, 6.1),
    "d2": (8.1, 11),
    "d3": (12.0, 25),
    "d4": (20.7, 55),
    "d5": (33.7, 135),
    "d6": (51.9, 226),
    "d7": (51.9, 325),
    "d7x": (77.0, 410),
}
# (application, filters, cells, convolutions of the head, frame): Tan et al. 2020, Table 1, and hparams_config.py.
SETTINGS = {
    "d0": ("EfficientNetB0", 64, 3, 3, 512),
    "d1": ("EfficientNetB1", 88, 4, 3, 640),
    "d2": ("EfficientNetB2", 112, 5, 3, 768),
    "d3": ("EfficientNetB3", 160, 6, 4, 896),
    "d4": ("EfficientNetB4", 224, 7, 4, 1024),
    "d5": ("EfficientNetB5", 288, 7, 4, 1280),
    "d6": ("EfficientNetB6", 384, 8, 5, 1280),
    "d7": ("EfficientNetB6", 384, 8, 5, 1536),
    "d7x": ("EfficientNetB7", 384, 8, 5, 1536),
}


class EfficientDetTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.addCleanup(gin.clear_config)

    def load(self, *names):
        """The configuration that gin files of these sizes make."""
        files = [f"detectors/efficientdet_{name}.gin" for name in names]
        load_config(files, ["NUM_CLASSES = 90", "DETECTIONS = 100", "SEED = 0", "BACKBONE_MODE = 'scratch'"])
        return gin.config_str()

    def check(self, name):
        """Checks a size's settings and figures; gives its numbers of parameters and multiply-adds."""
        self.load(name)
        with unallocated():
            detector = copy.deepcopy(gin.get_bindings("Run", resolve_references=False)["detector"])()
            products = self.products(detector)
        parameters = savings(detector, count_flops=False)["parameters"]["total"]
        self.assertAllClose(parameters, PUBLISHED[name][0] * 1e6, rtol=0.02)
        self.assertAllClose(products, PUBLISHED[name][1] * 1e9, rtol=0.1)
        self.assertEqual(detector.head.filters, detector.neck.filters)
        self.assertEqual(detector.neck.max_level, 8 if name == "d7x" else 7)
        self.assertEqual(detector.neck.fusion, "sum" if name in ("d6", "d7x") else "fast")
        self.assertEqual((detector.head.anchors.scale, detector.head.separable), (4.0, True))
        norms = (detector.neck.norm, detector.head.norm)
        self.assertEqual({(norm.momentum, norm.epsilon, norm.synchronized) for norm in norms}, {(0.99, 1e-3, True)})
        return parameters, products

    def products(self, detector):
        """Multiply-adds of one image: what `savings` gives as forward_flops, from the one trace that builds it all."""
        with tf.__internal__.FuncGraph("forward").as_default() as graph:
            tf.autograph.experimental.do_not_convert(detector.detect_once)(tf.zeros([1, *detector.frame, 3]))
        return sum(multiply_adds(types.SimpleNamespace(graph=graph), {}).values())

    def test_d0_to_the_parameter(self):
        parameters, _ = self.check("d0")
        # As a PyTorch port counts the same network with the same biases (rwightman/efficientdet-pytorch, README).
        self.assertEqual(parameters, 3_880_067)

    @pytest.mark.slow
    def test_d1_to_d5(self):
        for name in ("d1", "d2", "d3", "d4", "d5"):
            with self.subTest(name):
                self.check(name)

    @pytest.mark.slow
    def test_d6_to_d7x(self):
        parameters, products = self.check("d6")
        self.assertAllClose(parameters, PUBLISHED["d7"][0] * 1e6, rtol=0.02)
        # The same network on 1.44 times as many pixels; both sides are multiples of the highest stride.
        self.assertAllClose(products * (1536 / 1280) ** 2, PUBLISHED["d7"][1] * 1e9, rtol=0.1)
        self.check("d7x")

    def test_d7_is_d6_on_larger_images_with_larger_anchors(self):
        d6, d7 = (set(self.load(name).splitlines()) for name in ("d6", "d7"))
        self.assertEqual(d7 - d6, {"FRAME = (1536, 1536)", "dense/Anchors.scale = 5.0"})

    def test_the_settings_of_every_size(self):
        for name, settings in SETTINGS.items():
            self.load(name)
            application, filters, repeats, convs, side = settings
            macros = {"APPLICATION": application, "BIFPN_FILTERS": filters, "BIFPN_REPEATS": repeats}
            for macro, value in {**macros, "FRAME": (side, side)}.items():
                self.assertEqual(gin.query_parameter(f"{macro}/gin.macro.value"), value, (name, macro))
            self.assertEqual(gin.query_parameter("DenseHead.convs"), convs, name)

    def test_a_second_file_leaves_nothing_of_the_first(self):
        for first, second in (("d7x", "d1"), ("d7", "d6"), ("d0", "d7x")):
            self.assertEqual(self.load(first, second), self.load(second))


if __name__ == "__main__":
    tf.test.main()
