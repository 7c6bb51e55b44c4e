import os
import tempfile

import gin
import numpy as np
import pytest
import tensorflow as tf

from tests.backbones.resnet_test import NARROW, OFFICIAL, build_with_model_garden, images, save
from tests.export.stand_in import CATEGORIES
from tests.freezing import tiny
from tf_frozen.backbones.backbone import MODES_WITH_ADAPTERS, Backbone
from tf_frozen.backbones.efficientnet_lite import EfficientNetLite
from tf_frozen.backbones.keras_application import KerasApplication
from tf_frozen.backbones.residual_adapters import AdaptedConv, ResidualAdapters, adapted_convs, folded
from tf_frozen.backbones.resnet import ResNetRS
from tf_frozen.backbones.saved_model import SavedModelBackbone
from tf_frozen.config.load import load_config
from tf_frozen.errors import ConfigError
from tf_frozen.export.saved_model import export
from tf_frozen.freezing.audit import Audit
from tf_frozen.freezing.fingerprint import fingerprints
from tf_frozen.freezing.variable_paths import frozen_variables, variable_paths
from tf_frozen.keras_flavor import keras
from tf_frozen.layers.building import unallocated

MODE = "frozen_with_adapters"
CONVS = {
    "plain": lambda: keras.layers.Conv2D(6, 3, padding="same", use_bias=False),
    "strided": lambda: keras.layers.Conv2D(6, 3, 2, padding="same"),
    "valid": lambda: keras.layers.Conv2D(6, 5, 2, activation="relu"),
    "dilated": lambda: keras.layers.Conv2D(6, 3, dilation_rate=2, padding="same"),
    "groups": lambda: keras.layers.Conv2D(6, 3, 2, padding="same", groups=2),
    "depthwise": lambda: keras.layers.DepthwiseConv2D(5, 2, padding="same", depth_multiplier=2),
}


def move(model, scale=0.1):
    for index, conv in enumerate(adapted_convs(model)):
        conv.adapter.kernel.assign(scale * tf.random.stateless_normal(conv.adapter.kernel.shape, [index, 1]))


def centred(inputs, conv):
    """The pixel under the centre of each window, found by a convolution with a kernel that is 1 there."""
    side = conv.kernel_size[0]
    kernel = np.zeros([side, side, 1, 1], np.float32)
    kernel[side // 2, side // 2] = 1
    maps = [
        tf.nn.conv2d(channel, kernel, conv.strides, conv.padding.upper(), dilations=conv.dilation_rate)
        for channel in tf.split(inputs, inputs.shape[-1], -1)
    ]
    return tf.concat(maps, -1)


def one_by_one(inputs, kernel, groups):
    """A 1×1 convolution in groups, by a sum for each."""
    pieces = zip(tf.split(inputs, groups, -1), tf.split(kernel[0, 0], groups, -1), strict=True)
    return tf.concat([tf.einsum("bhwi,io->bhwo", x, k) for x, k in pieces], -1)


class AdaptedConvTest(tf.test.TestCase):
    def test_is_the_convolution_and_a_branch_of_its_own(self):
        for name, make in CONVS.items():
            for size in ((12, 16), (13, 17), (12, 17)):
                inputs = tf.random.stateless_normal([2, *size, 4], [1, 2])
                for kind in ("parallel", "series"):
                    with self.subTest(f"{name} {kind} {size}"):
                        conv = make()
                        conv.activation, activation = keras.activations.linear, conv.activation
                        plain = conv(inputs)
                        conv.activation = activation
                        adapted = AdaptedConv(conv, kind)
                        self.assertAllEqual(adapted(inputs), activation(plain))
                        move(keras.Sequential([adapted]), 0.5)
                        share = self.share(conv, kind, inputs, plain, adapted.adapter.kernel)
                        self.assertGreater(np.abs(share).max(), 0.3)
                        self.assertAllClose(adapted(inputs), activation(plain + share), rtol=0, atol=1e-5)

    def share(self, conv, kind, inputs, plain, kernel):
        depthwise = isinstance(conv, keras.layers.DepthwiseConv2D)
        if kind == "series":
            outputs = plain - conv.bias if conv.use_bias else plain
            return outputs * tf.reshape(kernel, [-1]) if depthwise else one_by_one(outputs, kernel, conv.groups)
        pixels = centred(inputs, conv)
        if depthwise:
            return tf.reshape(pixels[..., None] * kernel[0, 0], plain.shape)
        return one_by_one(pixels, kernel, conv.groups)


class InsertedTest(tf.test.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = folder.name
        keras.utils.set_random_seed(0)
        cls.resnet = save(build_with_model_garden("swish", **OFFICIAL, **NARROW), cls.folder)
        cls.application = os.path.join(cls.folder, "mobilenet_v2.h5")
        keras.applications.MobileNetV2(include_top=False, weights=None).save_weights(cls.application)

    def backbones(self, mode, **adapters):
        depthwise = {"adapters": ResidualAdapters(depthwise=True, **adapters)}
        yield EfficientNetLite(levels=(2, 3, 5), mode=mode, **depthwise)
        rate = {"init_stochastic_depth_rate": 0.5}
        yield ResNetRS(mode=mode, init_checkpoint=self.resnet, adapters=ResidualAdapters(**adapters), **rate, **NARROW)
        yield KerasApplication("MobileNetV2", (2, 4), mode=mode, weights=self.application, **depthwise)

    @pytest.mark.slow
    def test_step_0_is_the_plain_network_at_every_tap(self):
        for kind in ("parallel", "series"):
            for plain, adapted in zip(self.backbones("frozen"), self.backbones(MODE, kind=kind), strict=True):
                self.assertNotEmpty(adapted.adapter_variables)
                for size in ((64, 64), (65, 71)):
                    expected = plain(images(size))
                    for found in (adapted(images(size)), adapted(images(size), training=True)):
                        for level, feature_map in expected.items():
                            self.assertAllEqual(found[level], feature_map)
                move(adapted)
                moved, last = adapted(images(size)), adapted.levels[-1]
                self.assertNotAllClose(moved[last], expected[last], rtol=1e-2, atol=0)

    def test_only_adapters_train_or_all_does(self):
        for plain, frozen, tuned in zip(
            self.backbones("fine_tune"), self.backbones(MODE), self.backbones("fine_tune_with_adapters"), strict=True
        ):
            adapters = {id(variable) for variable in frozen.adapter_variables}
            self.assertEqual({id(variable) for variable in frozen.trainable_variables}, adapters)
            self.assertFalse(frozen.frozen)
            trained = len(plain.trainable_variables) + len(adapters)
            self.assertLen(tuned.trainable_variables, trained)
            self.assertLen([path for path in variable_paths(frozen) if path.endswith("/adapter/kernel")], len(adapters))

    @pytest.mark.slow
    def test_folding_changes_nothing_but_the_graph(self):
        for kind in ("parallel", "series"):
            for backbone in self.backbones(MODE, kind=kind):
                move(backbone)
                before = fingerprints(variable_paths(backbone))
                for size in ((64, 64), (65, 71)):
                    expected = backbone(images(size))
                    with folded(backbone):
                        found = backbone(images(size))
                        function = tf.function(lambda x, b=backbone: b(x)).get_concrete_function(images(size))
                    for level, feature_map in expected.items():
                        self.assertAllClose(found[level], feature_map, rtol=1e-5, atol=1e-5)
                    adapters = {id(variable) for variable in backbone.adapter_variables}
                    self.assertEmpty([v for v in function.variables if id(v) in adapters])
                self.assertEqual(fingerprints(variable_paths(backbone)), before)

    def test_settings_survive_a_round_trip(self):
        for backbone in self.backbones(MODE, kind="series"):
            again = type(backbone).from_config(backbone.get_config())
            self.assertEqual((again.mode, again.adapters.kind), (MODE, "series"))
            self.assertEqual(again.adapters.depthwise, backbone.adapters.depthwise)
            self.assertEqual(list(variable_paths(again)), list(variable_paths(backbone)))

    @pytest.mark.slow
    def test_half_precision_and_xla(self):
        self.addCleanup(keras.mixed_precision.set_global_policy, keras.mixed_precision.global_policy())
        for policy in ("mixed_bfloat16", "mixed_float16"):
            keras.mixed_precision.set_global_policy(policy)
            for plain, adapted in zip(self.backbones("frozen"), self.backbones(MODE), strict=True):
                expected, found = plain(images((33, 32))), adapted(images((33, 32)))
                for level, feature_map in expected.items():
                    self.assertAllEqual(found[level], feature_map)
                    self.assertEqual(feature_map.dtype.name, policy.removeprefix("mixed_"))
        keras.mixed_precision.set_global_policy("float32")
        backbone = next(self.backbones(MODE))
        move(backbone)
        compiled = tf.function(lambda x: backbone(x), jit_compile=True)(images((64, 64)))
        for level, feature_map in backbone(images((64, 64))).items():
            self.assertAllClose(compiled[level], feature_map, rtol=1e-4, atol=1e-4)


class SizeTest(tf.test.TestCase):
    @pytest.mark.slow
    def test_of_the_paper_s_backbone(self):
        with unallocated():
            backbone = ResNetRS(101, mode=MODE, init_checkpoint="/nowhere", adapters=ResidualAdapters())
        sizes = [variable.shape.num_elements() for variable in backbone.trainable_variables]
        self.assertLen(sizes, 33)
        self.assertEqual(sum(sizes), 2_371_584)  # the stem has none


class TrainingTest(tf.test.TestCase):
    @pytest.mark.slow
    def test_a_step_trains_adapters_alone_and_the_audit_holds(self):
        detector = tiny.detector(MODE)
        frozen = frozen_variables(detector)
        adapters = {id(variable) for variable in detector.backbone.adapter_variables}
        bodies = {path: v for path, v in variable_paths(detector.backbone).items() if id(v) not in adapters}
        self.assertLen(frozen, len(bodies))
        audit = Audit(detector, detector.optimizer)
        before = fingerprints(bodies)
        step = tiny.traced_step(detector)
        detector.train_on_batch(*tiny.batch())
        audit.finish(step)
        self.assertEqual(audit.as_dict()["verdict"], "frozen")
        self.assertEqual(fingerprints(bodies), before)
        for variable in detector.backbone.adapter_variables:
            self.assertGreater(np.abs(variable).max(), 0)

    @pytest.mark.slow
    def test_an_export_has_no_adapters_and_leaves_the_detector_as_it_is(self):
        keras.utils.set_random_seed(0)
        detector = tiny.detector(MODE)
        move(detector, 0.02)  # maps stay as large as the heads are made for
        before = fingerprints(variable_paths(detector))
        pixels = tf.cast(tiny.batch()[0], tf.uint8)
        expected = detector(tf.cast(pixels, tf.float32))
        with tempfile.TemporaryDirectory() as folder:
            export(detector, CATEGORIES, os.path.join(folder, "adapted"))
            adapted = tf.saved_model.load(os.path.join(folder, "adapted"))
            found = adapted.signatures["serving_default"](images=pixels)
            self.assertAllClose(found["detection_scores"], expected["scores"], rtol=0, atol=1e-5)
            self.assertAllClose(found["detection_boxes"], expected["boxes"], rtol=0, atol=1e-3)
            # Each weight of the detector is served once, but those of the adapters.
            self.assertLen(adapted.served, len(detector.weights) - len(detector.backbone.adapter_variables))
        self.assertEqual(fingerprints(variable_paths(detector)), before)


class ErrorsTest(tf.test.TestCase):
    def test_where_no_adapter_fits(self):
        with self.assertRaisesRegex(ConfigError, "No convolution of efficientnet_lite0 .*depthwise = True"):
            EfficientNetLite(mode=MODE, adapters=ResidualAdapters())
        inputs = keras.Input([None, None, 3])
        pointwise = keras.Model(inputs, keras.layers.Conv2D(2, 1)(inputs))
        for mode in MODES_WITH_ADAPTERS:
            with self.assertRaisesRegex(ConfigError, "takes a residual adapter"):
                Backbone(pointwise, (0,), mode, "somewhere", ResidualAdapters(depthwise=True))

    def test_a_mode_with_adapters_needs_them_and_gin_gives_none_by_the_way(self):
        self.addCleanup(gin.clear_config)
        gin.bind_parameter("ResidualAdapters.depthwise", True)
        for mode in MODES_WITH_ADAPTERS:
            with self.assertRaisesRegex(ConfigError, f"mode is '{mode}' but EfficientNetLite.adapters is None. G"):
                EfficientNetLite(mode=mode)

    def test_kinds_and_backbones_without_them(self):
        with self.assertRaisesRegex(ConfigError, "ResidualAdapters.kind is 'serial'; it must be one of 'parallel', 's"):
            ResidualAdapters("serial")
        for mode in MODES_WITH_ADAPTERS:
            with self.assertRaisesRegex(ConfigError, f"mode is '{mode}', but a SavedModel is a function for inference"):
                SavedModelBackbone("/nowhere", mode=mode)


class GinTest(tf.test.TestCase):
    def test_the_mode_alone_switches_them_on(self):
        self.addCleanup(gin.clear_config)
        load_config(
            ["backbones/efficientnet_lite0.gin"], [f"BACKBONE_MODE = '{MODE}'", "ResidualAdapters.depthwise = True"]
        )
        backbone = gin.query_parameter("BACKBONE/gin.macro.value").scoped_configurable_fn()
        self.assertLen(backbone.trainable_variables, 16)


if __name__ == "__main__":
    tf.test.main()
