import functools
import os
import shutil
import subprocess
import sys
import tempfile

import gin
import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized

from tests.freezing import tiny
from tests.layer_suite import LayerSuite
from tf_frozen.backbones.saved_model import SavedModelBackbone
from tf_frozen.config.load import load_config
from tf_frozen.data.category import Category
from tf_frozen.detectors.rcnn import RCNN
from tf_frozen.errors import ConfigError
from tf_frozen.export.saved_model import export
from tf_frozen.export.verify import detections, verify
from tf_frozen.freezing.audit import Audit
from tf_frozen.freezing.savings import savings
from tf_frozen.freezing.variable_paths import variable_paths
from tf_frozen.heads.box_cascade import BoxCascade
from tf_frozen.heads.box_head import BoxHead
from tf_frozen.heads.nms import NMS
from tf_frozen.heads.proposal_nms import ProposalNMS
from tf_frozen.heads.region_proposal import RegionProposal
from tf_frozen.keras_flavor import keras
from tf_frozen.necks.nas_fpn import NASFPN
from tf_frozen.training.checkpoint import Checkpoints

FOLDER = tempfile.TemporaryDirectory()
CELL = ((0, "sum", (0, 1), True), (1, "attention", (1, 2), True))
WIDTHS = (4, 5, 6, 7, 8)

KERAS_3 = """
import sys
import keras, numpy as np
keras.utils.set_random_seed(0)
inputs = x = keras.Input((None, None, 3))
feature_maps = []
for level in range(1, 6):
    x = keras.layers.BatchNormalization()(keras.layers.Conv2D(4 + level, 3, 2, "same", activation="relu")(x))
    feature_maps.append(x)
assert keras.__version__.startswith("3.")
model = keras.Model(inputs, feature_maps[2:])
model.export(sys.argv[1])
np.savez(sys.argv[2], *(np.asarray(output) for output in model(np.load(sys.argv[2]), training=False)))
"""


class Pyramid(tf.Module):
    """Five strided convolutions of plain TensorFlow; `choose` makes the output of the maps {level: map}."""

    def __init__(self, choose=lambda maps: {str(level): feature_map for level, feature_map in maps.items()}):
        shapes = [(3, 3, before, after) for before, after in zip((3, *WIDTHS), WIDTHS, strict=False)]
        noise = [tf.random.stateless_normal(shape, [1, i]) / 3 for i, shape in enumerate(shapes)]
        self.kernels = [tf.Variable(kernel, name=f"stage{i}/kernel") for i, kernel in enumerate(noise, 1)]
        # Not a part of the pyramid: a classifier that the backbone has no use for.
        self.head = tf.Variable(tf.zeros([8, 1000]), name="head/kernel")
        self.choose = choose

    def maps(self, images):
        feature_maps = {}
        for level, kernel in enumerate(self.kernels, 1):
            images = feature_maps[level] = tf.nn.relu(tf.nn.conv2d(images, kernel, 2, "SAME"))
        return feature_maps

    def __call__(self, images):
        return self.choose(self.maps(images))


def write(name, choose=None, spec=None, as_signature=False):
    """Writes a pyramid and returns its folder; as an object that can be called, or with one signature."""
    module = Pyramid(choose) if choose else Pyramid()
    spec = spec or tf.TensorSpec([None, None, None, 3], name="images")
    function = tf.function(module.__call__, input_signature=[spec])
    if as_signature:
        root = tf.Module()
        root.kernels = module.kernels
        tf.saved_model.save(root, os.path.join(FOLDER.name, name), {"features": function})
    else:
        module.__call__ = function
        root = tf.Module()
        root.kernels, root.head, root.__call__ = module.kernels, module.head, function
        tf.saved_model.save(root, os.path.join(FOLDER.name, name), {})
    return os.path.join(FOLDER.name, name)


@functools.cache
def plain():
    return write("plain")


def pixels(*shape):
    return tf.random.stateless_uniform(shape, [1, 2])


def tearDownModule():
    FOLDER.cleanup()


class SavedModelSuiteTest(LayerSuite, tf.test.TestCase):
    float32_outputs = False

    def layer(self):
        return SavedModelBackbone(plain(), (2, 3))

    def inputs(self, batch, size):
        return pixels(batch, *size, 3)

    def shapes(self, batch, size):
        return {level: (batch, *(-(-side // 2**level) for side in size), WIDTHS[level - 1]) for level in (2, 3)}

    def test_a_gradient_reaches_every_trainable_weight(self):
        """Nothing trains; but what stands before it, a learned change of the image, may."""
        layer, inputs = self.layer(), self.inputs(1, (32, 32))
        self.assertEmpty(layer.trainable_weights)
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            output = tf.reduce_sum(layer(inputs)[3])
        self.assertGreater(np.abs(tape.gradient(output, inputs)).max(), 0.0)


class WritersTest(parameterized.TestCase, tf.test.TestCase):
    def assertMaps(self, backbone, expected, tolerance=1e-6):
        images = pixels(2, 64, 96, 3)
        found = backbone(images)
        self.assertEqual(sorted(found), list(backbone.levels))
        for level, value in zip(backbone.levels, expected(images), strict=True):
            self.assertAllClose(found[level], value, rtol=0, atol=tolerance)
            self.assertEqual(backbone.channels[level], value.shape[-1])
            self.assertGreater(np.abs(value).max(), 0.01)

    def expected(self, levels):
        module = Pyramid()
        return lambda images: [module.maps(images)[level] for level in levels]

    def test_plain_tensorflow(self):
        self.assertMaps(SavedModelBackbone(plain()), self.expected((3, 4, 5)))

    @parameterized.named_parameters(
        ("a_list", lambda maps: [maps[5], maps[3], maps[2]], (2, 3, 5)),
        ("one_map", lambda maps: maps[4], (4,)),
        ("names_that_count_otherwise", lambda maps: {"res2": maps[3], "res3": maps[4]}, (3, 4)),
        ("two_maps_of_a_stride", lambda maps: {"c3": maps[3], "p4": maps[4], "d3": maps[3][..., :2]}, (4,)),
        ("two_of_a_stride_one_named", lambda maps: {"endpoint3": maps[3], "late": maps[3] * 2, "x": maps[4]}, (3, 4)),
        ("logits_too", lambda maps: {"logits": maps[5][:, 0, 0], "3": maps[3]}, (3,)),
    )
    def test_outputs_are_told_apart_by_their_strides(self, choose, levels):
        for as_signature in (False, True):
            if as_signature and isinstance(choose({level: tf.zeros([1, 2, 2, 4]) for level in range(1, 6)}), list):
                continue  # a signature gives a dictionary
            path = write(f"{self.id()}{as_signature}", choose, as_signature=as_signature)
            self.assertMaps(SavedModelBackbone(path, levels), self.expected(levels))

    def test_images_of_any_size(self):
        backbone = SavedModelBackbone(plain(), (1, 2, 3, 4, 5))
        graph = tf.function(backbone, input_signature=[tf.TensorSpec([None, None, None, 3])])
        images = pixels(1, 73, 41, 3)
        for level, output in backbone(images).items():
            self.assertEqual(output.shape, (1, -(-73 // 2**level), -(-41 // 2**level), WIDTHS[level - 1]))
            self.assertAllClose(graph(images)[level], output, rtol=0, atol=1e-6)

    def test_maps_of_a_shape_that_the_saved_model_does_not_tell(self):
        path = write("untold", lambda maps: [tf.compat.v1.placeholder_with_default(maps[3], None)])
        traced = tf.function(SavedModelBackbone(path, (3,))).get_concrete_function(tf.TensorSpec([1, 73, 41, 3]))
        self.assertEqual(traced.structured_outputs[3].shape, (1, 10, 6, 6))

    def test_a_signature_that_takes_bytes_of_pixels(self):
        spec = tf.TensorSpec([None, None, None, 3], tf.uint8, name="pixels")
        module = Pyramid(lambda maps: {"3": maps[3]})
        function = tf.function(lambda pixels: module(tf.cast(pixels, tf.float32) / 255.0), input_signature=[spec])
        path = os.path.join(FOLDER.name, "uint8")
        root = tf.Module()
        root.kernels = module.kernels
        tf.saved_model.save(root, path, {"other": function, "features": function})
        backbone = SavedModelBackbone(path, (3,), signature="features")
        images = np.arange(32 * 32 * 3).reshape([1, 32, 32, 3]).astype(np.float32) % 256
        self.assertAllClose(backbone(images)[3], module.maps(images / 255.0)[3], rtol=0, atol=1e-6)

    def test_a_model_of_one_image_size(self):
        path = write("fixed", spec=tf.TensorSpec([None, 48, 80, 3]))
        with self.assertRaisesRegex(
            ConfigError, r"(?s)does not take two images of 64 × 96 pixels.*give that as .*size"
        ):
            SavedModelBackbone(path)
        backbone = SavedModelBackbone(path, size=(48, 80))
        self.assertEqual(
            [feature_map.shape[1:3] for feature_map in backbone(pixels(2, 48, 80, 3)).values()],
            [(6, 10), (3, 5), (2, 3)],
        )
        with self.assertRaisesRegex(ConfigError, r"takes images of 48 × 80 pixels .*got 64 × 64. Set FRAME"):
            backbone(pixels(1, 64, 64, 3))

    def test_keras_2(self):
        inputs = x = keras.Input([None, None, 3])
        feature_maps = []
        for level in range(1, 5):
            x = keras.layers.BatchNormalization()(keras.layers.Conv2D(level, 3, 2, "same", activation="relu")(x))
            feature_maps.append(keras.layers.Dropout(0.5)(x))
        model = keras.Model(inputs, feature_maps[2:])
        model.layers[2].set_weights([np.full(1, value) for value in (2.0, 0.5, 0.1, 3.0)])
        for name, save in [("keras_2", model.save), ("keras_2_export", model.export)]:
            path = os.path.join(FOLDER.name, name)
            save(path)
            backbone = SavedModelBackbone(path, (3, 4))
            self.assertMaps(backbone, lambda images: model(images, training=False))
            self.assertLen(backbone.weights, len(model.weights))
            self.assertAllEqual(backbone(pixels(1, 32, 32, 3), training=True)[3], backbone(pixels(1, 32, 32, 3))[3])

    @pytest.mark.slow
    def test_keras_3(self):
        path, arrays = os.path.join(FOLDER.name, "keras_3"), os.path.join(self.get_temp_dir(), "arrays.npz")
        with open(arrays, "wb") as file:
            np.save(file, pixels(2, 64, 96, 3))
        subprocess.run([sys.executable, "-c", KERAS_3, path, arrays], check=True, capture_output=True)
        backbone = SavedModelBackbone(path)
        self.assertEqual(dict(backbone.channels), {3: 7, 4: 8, 5: 9})
        self.assertLen(backbone.weights, 5 * 6)
        with np.load(arrays) as expected:
            self.assertMaps(backbone, lambda images: list(expected.values()))


class WeightsTest(tf.test.TestCase):
    def test_weights_are_the_variables_of_the_function_and_frozen(self):
        backbone, module = SavedModelBackbone(plain(), (3,)), Pyramid()
        self.assertTrue(backbone.frozen)
        paths = variable_paths(backbone)
        self.assertEqual(list(paths), [f"network/saved_variables/stage{i}.kernel" for i in range(1, 6)])
        for found, expected in zip(paths.values(), module.kernels, strict=True):
            self.assertAllEqual(found, expected)
        parameters = sum(kernel.shape.num_elements() for kernel in module.kernels)
        backbone.frame, backbone.detect_once = (32, 32), backbone.call
        self.assertEqual(savings(backbone, count_flops=False)["parameters"]["frozen"], parameters)

    def test_variables_of_one_name_are_kept_apart(self):
        root, images = tf.Module(), tf.TensorSpec([None, None, None, 3])
        root.all = [tf.Variable(tf.fill([1, 1, 3, 2], float(i))) for i in (1, 2)]

        def two(images):
            return [
                tf.nn.conv2d(images, kernel, stride, "SAME") for kernel, stride in zip(root.all, (2, 4), strict=True)
            ]

        root.__call__ = tf.function(two, input_signature=[images])
        path = os.path.join(FOLDER.name, "one_name")
        tf.saved_model.save(root, path)
        backbone = SavedModelBackbone(path, (1, 2))
        self.assertLen(variable_paths(backbone), 2)
        self.assertAllEqual(sorted(float(v.numpy()[0, 0, 0, 0]) for v in backbone.weights), [1, 2])

    def test_a_frozen_graph_has_no_weights(self):
        module, root = Pyramid(), tf.Module()
        kernels = [tf.constant(kernel.numpy()) for kernel in module.kernels]
        module.kernels = kernels
        root.__call__ = tf.function(module.__call__, input_signature=[tf.TensorSpec([None, None, None, 3])])
        path = os.path.join(FOLDER.name, "constants")
        tf.saved_model.save(root, path)
        backbone = SavedModelBackbone(path, (3,))
        self.assertEmpty(backbone.weights)
        self.assertTrue(backbone.frozen)
        self.assertAllClose(backbone(pixels(1, 32, 32, 3))[3], Pyramid().maps(pixels(1, 32, 32, 3))[3], atol=1e-6)

    def test_says_what_it_is(self):
        backbone = SavedModelBackbone(plain(), (3,), mean=(1.0, 2.0, 3.0), deviation=(2.0, 4.0, 8.0))
        self.assertEqual(backbone.weights_source, f"SavedModel {plain()}")
        self.assertIsNone(backbone.norm_epsilon)
        self.assertAllClose(backbone.preprocess(np.full([1, 1, 1, 3], 9, np.uint8)), [[[[4.0, 1.75, 0.75]]]])
        self.assertAllEqual(
            SavedModelBackbone(plain(), (3,)).preprocess(tf.constant([[[[0.0, 7.0, 255.0]]]])), [[[[0, 7, 255]]]]
        )


class RefusalsTest(parameterized.TestCase, tf.test.TestCase):
    def test_modes_that_would_train_it(self):
        for mode in ("fine_tune", "scratch", "frozen_random", "forzen"):
            with self.assertRaisesRegex(ConfigError, f"mode is '{mode}', but a SavedModel .* can only be 'frozen'"):
                SavedModelBackbone(plain(), mode=mode)

    def test_what_is_no_saved_model(self):
        folder = self.get_temp_dir()
        for path in (folder, os.path.join(folder, "missing")):
            with self.assertRaisesRegex(ConfigError, f"path is {path!r}, which is not a SavedModel: a folder with"):
                SavedModelBackbone(path)
        with open(os.path.join(folder, "saved_model.pb"), "wb") as file:
            file.write(b"not at all")
        with self.assertRaisesRegex(ConfigError, f"The SavedModel {folder} cannot be loaded: "):
            SavedModelBackbone(folder)

    def test_levels_that_no_output_has(self):
        path = write("levels_2_3", lambda maps: {"p3": maps[2], "p4": maps[3]})
        with self.assertRaisesRegex(
            ConfigError,
            "No output of .* can be level 4: of two images of 32 × 48 pixels it must be 2 × 2 × 3 × channels, and the "
            "outputs are 'p3' 2 × 8 × 12 × 5, 'p4' 2 × 4 × 6 × 6. Choose other levels",
        ):
            SavedModelBackbone(path, (3, 4))
        path = write("twice", lambda maps: {"a": maps[2], "b": maps[2]})
        with self.assertRaisesRegex(ConfigError, "Several outputs of .* can be level 2: .*End the name of the right"):
            SavedModelBackbone(path, (2,))
        with self.assertRaisesRegex(ConfigError, "levels is .* rising levels out of 1 to 7"):
            SavedModelBackbone(path, (3, 2))

    def test_signatures_that_it_does_not_have(self):
        path = write("signed", lambda maps: {"3": maps[3]}, as_signature=True)
        with self.assertRaisesRegex(
            ConfigError,
            "signature is 'feature', but .* cannot be called .* signatures 'features'. Did you mean 'features'",
        ):
            SavedModelBackbone(path, (3,), signature="feature")
        with self.assertRaisesRegex(ConfigError, r"signature is 'x', but .* can be called .* signatures \(none\)"):
            SavedModelBackbone(plain(), (3,), signature="x")
        empty = os.path.join(FOLDER.name, "empty")
        tf.saved_model.save(tf.Module(), empty)
        with self.assertRaisesRegex(
            ConfigError, r"signature is 'serving_default', but .* cannot be called .* signatures \(none\)"
        ):
            SavedModelBackbone(empty)

    def test_functions_that_take_something_else(self):
        spec, root = tf.TensorSpec([None, None, None, 3]), tf.Module()
        two = tf.function(lambda images, mask: {"3": images * mask}, input_signature=[spec, spec])
        grey = tf.function(lambda images: {"3": images}, input_signature=[tf.TensorSpec([None, None, None, 1])])
        path = os.path.join(FOLDER.name, "others")
        tf.saved_model.save(root, path, {"two": two, "grey": grey})
        with self.assertRaisesRegex(
            ConfigError, "signature 'two' of .* takes images, mask; a backbone's takes images alone"
        ):
            SavedModelBackbone(path, signature="two")
        with self.assertRaisesRegex(ConfigError, r"(?s)does not take two images .*float32 \[2, 64, 96, 3\]: .*another"):
            SavedModelBackbone(path, signature="grey")


class InADetectorTest(tf.test.TestCase):
    @pytest.mark.slow
    def test_trains_saves_and_leaves_the_house_without_the_first_saved_model(self):
        path = write("copied", lambda maps: [maps[3]])
        keras.utils.set_random_seed(0)
        detector, again = rcnn(path), rcnn(path)
        images, targets = tiny.batch()
        for each in (detector, again):
            each(images)
            each.compile(keras.optimizers.SGD(0.01))
        audit = Audit(detector, detector.optimizer)
        before = [weight.numpy() for weight in detector.trainable_weights]
        for _ in range(2):
            detector.train_step((images, targets))
        audit.finish()
        self.assertContainsSubset(
            {f"backbone/network/saved_variables/stage{i}.kernel" for i in (1, 2, 3)},
            audit.as_dict()["start"]["fingerprints"],
        )
        self.assertTrue(
            any((old != new.numpy()).any() for old, new in zip(before, detector.trainable_weights, strict=True))
        )

        saved = Checkpoints(self.get_temp_dir(), detector, detector.optimizer).save()
        self.assertEqual(Checkpoints(self.get_temp_dir(), again, again.optimizer).restore(saved), 2)
        for found, expected in zip(again.get_weights(), detector.get_weights(), strict=True):
            self.assertAllEqual(found, expected)

        categories = [Category(7, "tree"), Category(21, "bush")]
        pictures = [np.random.default_rng(0).integers(0, 255, [50, 70, 3], np.uint8)]
        exported = export(detector, categories, os.path.join(self.get_temp_dir(), "exported"))
        expected = detections(detector, categories, pictures)
        shutil.rmtree(path)
        self.assertGreater(verify(exported, pictures, expected)["detections"], 0)


def rcnn(path):
    head = BoxHead(2, 0, fcs=1, fc_units=8)
    return RCNN(
        SavedModelBackbone(path, (3,), deviation=(255.0, 255.0, 255.0)),
        NASFPN(6, 1, 3, 4, CELL, norm=keras.layers.GroupNormalization(groups=2)),
        RegionProposal(6, nms=ProposalNMS(candidates=(20, 20), proposals=(10, 10))),
        BoxCascade(head, (0.5,), ((10, 10, 5, 5),), nms=NMS(score_threshold=0.0, detections=7)),
        frame=(tiny.SIZE, tiny.SIZE),
    )


class GinFileTest(tf.test.TestCase):
    def test_names_the_saved_model(self):
        self.addCleanup(gin.clear_config)
        params = [f"BACKBONE_SAVED_MODEL = {plain()!r}", "BACKBONE_MODE = 'frozen'"]
        load_config(["backbones/saved_model.gin"], params)
        built = gin.query_parameter("BACKBONE/gin.macro.value").scoped_configurable_fn()
        self.assertEqual(dict(built.channels), {3: 6, 4: 7, 5: 8})


if __name__ == "__main__":
    tf.test.main()
