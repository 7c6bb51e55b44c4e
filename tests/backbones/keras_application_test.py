import functools
import os
import random
import urllib.error
from unittest import mock

import gin
import numpy as np
import pytest
import tensorflow as tf
from absl.testing import parameterized

from tests.layer_suite import LayerSuite
from tf_frozen.backbones.keras_application import KerasApplication
from tf_frozen.config.load import load_config
from tf_frozen.errors import ConfigError, FreezeError
from tf_frozen.freezing.variable_paths import variable_paths
from tf_frozen.keras_flavor import keras

# The channels of the stages' outputs, from the tables of the papers.
FAMILIES = {
    "ConvNeXtTiny": {2: 96, 3: 192, 4: 384, 5: 768},
    "DenseNet121": {1: 64, 2: 256, 3: 512, 4: 1024, 5: 1024},
    "EfficientNetB0": {1: 16, 2: 24, 3: 40, 4: 112, 5: 320},
    "EfficientNetV2B0": {1: 16, 2: 32, 3: 48, 4: 112, 5: 192},
    "MobileNet": {1: 64, 2: 128, 3: 256, 4: 512, 5: 1024},
    "MobileNetV2": {1: 16, 2: 24, 3: 32, 4: 96, 5: 320},
    "MobileNetV3Small": {1: 16, 2: 16, 3: 24, 4: 48, 5: 96},
    "RegNetX002": {1: 32, 2: 24, 3: 56, 4: 152, 5: 368},
    "ResNet50": {1: 64, 2: 256, 3: 512, 4: 1024, 5: 2048},
    "ResNet50V2": {1: 64, 2: 256, 3: 512, 4: 1024, 5: 2048},
    "ResNetRS50": {1: 64, 2: 256, 3: 512, 4: 1024, 5: 2048},
    "VGG16": {1: 128, 2: 256, 3: 512, 4: 512, 5: 512},
    "Xception": {3: 256, 4: 728, 5: 2048},
}
OUTPUT_LAYERS = {
    "DenseNet121": ["conv1/relu", "pool2_relu", "pool3_relu", "pool4_relu", "relu"],
    "EfficientNetB0": ["block1a_project_bn", "block2b_add", "block3b_add", "block5c_add", "block7a_project_bn"],
    "MobileNetV2": ["expanded_conv_project_BN", "block_2_add", "block_5_add", "block_12_add", "block_16_project_BN"],
    "ResNet50": ["conv1_relu", "conv2_block3_out", "conv3_block4_out", "conv4_block6_out", "conv5_block3_out"],
    "ResNet50V2": ["conv1_conv", "conv2_block2_out", "conv3_block3_out", "conv4_block5_out", "post_relu"],
    "VGG16": ["block2_conv2", "block3_conv3", "block4_conv3", "block5_conv3", "block5_pool"],
}
EPSILONS = {"ResNet50": 1.001e-5, "ResNetRS50": 1e-5, "RegNetX002": 1e-5, "EfficientNetB0": 1e-3, "ConvNeXtTiny": None}
MEAN, DEVIATION = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
# What the families' papers and converted weights want: BGR less the mean, −1…1, or the mean and deviation of RGB.
PREPROCESSING = {
    "ResNet50": lambda x: x[..., ::-1] - [103.939, 116.779, 123.68],
    "MobileNet": lambda x: x / 127.5 - 1,
    "DenseNet121": lambda x: (x / 255 - MEAN) / DEVIATION,
    "EfficientNetB0": lambda x: x,
    "ConvNeXtTiny": lambda x: x,
}


@functools.cache
def backbone(application):
    """With random weights and all the levels that it has; built once."""
    return KerasApplication(application, tuple(FAMILIES[application]), "frozen_random")


def pixels(*shape):
    return tf.random.stateless_uniform(shape, [1, 2], maxval=255.0)


def plain(application, **arguments):
    arguments = {"include_top": False, "weights": None, "input_shape": (None, None, 3)} | arguments
    return getattr(keras.applications, application)(**arguments)


class KerasApplicationSuiteTest(LayerSuite, tf.test.TestCase):
    float32_outputs = False

    def layer(self):
        return KerasApplication("VGG16", (1, 2), "frozen_random")

    def trainable_layer(self):
        return KerasApplication("VGG16", (1, 2), "scratch")

    def inputs(self, batch, size):
        return pixels(batch, *size, 3)

    def shapes(self, batch, size):
        return {level: (batch, *(-(-side // 2**level) for side in size), 64 << level) for level in (1, 2)}


class FamiliesTest(parameterized.TestCase, tf.test.TestCase):
    @parameterized.parameters(*FAMILIES)
    def test_has_the_levels_of_its_paper_for_images_of_any_size(self, application):
        network = backbone(application)
        self.assertEqual(dict(network.channels), FAMILIES[application])
        outputs = network(network.preprocess(pixels(1, 73, 41, 3)))
        for level, output in outputs.items():
            self.assertEqual(output.shape, (1, -(-73 // 2**level), -(-41 // 2**level), FAMILIES[application][level]))
            self.assertAllInSet(np.isfinite(output), [True])

    @parameterized.parameters(*OUTPUT_LAYERS)
    def test_taps_are_the_outputs_of_stages(self, application):
        names = [tensor.node.layer.name for tensor in backbone(application).network.outputs]
        self.assertEqual(names, OUTPUT_LAYERS[application])

    @parameterized.parameters("EfficientNetB0", "MobileNetV2")
    def test_features_are_those_of_the_plain_application(self, application):
        network = backbone(application)
        fixed = plain(application, input_shape=(96, 64, 3))
        for layer in network.network.layers:
            if layer.weights:
                fixed.get_layer(layer.name if layer.name != "normalization" else _normalization(fixed)).set_weights(
                    layer.get_weights()
                )
        images = network.preprocess(pixels(2, 96, 64, 3))
        feature_maps = [fixed.get_layer(name).output for name in OUTPUT_LAYERS[application]]
        expected = keras.Model(fixed.inputs, feature_maps)(images, training=False)
        for output, value in zip(network(images).values(), expected, strict=True):
            self.assertAllClose(output, value, rtol=0, atol=1e-6 * np.abs(value).max())

    @parameterized.parameters(*PREPROCESSING)
    def test_preprocesses_as_its_family_and_leaves_the_images_alone(self, application):
        images = pixels(1, 5, 4, 3).numpy()
        before = images.copy()
        found = backbone(application).preprocess(images)
        self.assertAllClose(found, PREPROCESSING[application](before), rtol=1e-5, atol=1e-4)
        self.assertEqual(found.dtype, tf.float32)
        self.assertAllEqual(images, before)

    @parameterized.parameters(*EPSILONS)
    def test_says_the_epsilon_of_its_norms(self, application):
        self.assertEqual(backbone(application).norm_epsilon, EPSILONS[application])

    @parameterized.parameters(*FAMILIES)
    def test_every_weight_has_a_name_of_its_own(self, application):
        self.assertLen(variable_paths(backbone(application)), len(backbone(application).weights))

    def test_what_lies_above_the_highest_tap_is_cut_off(self):
        published = 5_288_548
        body = sum(weight.shape.num_elements() for weight in backbone("EfficientNetB0").weights if weight.trainable)
        self.assertEqual(body, published - (1280 + 1) * 1000 - (320 + 2) * 1280)
        self.assertEqual(KerasApplication("MobileNet", (1,), "scratch").network.layers[-1].name, "conv_pw_1_relu")

    def test_a_graph_of_any_image_size_computes_the_same(self):
        network, images = backbone("VGG16"), pixels(1, 73, 41, 3)
        graph = tf.function(network, input_signature=[tf.TensorSpec([None, None, None, 3])])
        for found, expected in zip(graph(images).values(), network(images).values(), strict=True):
            self.assertAllClose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())

    def test_drop_connect_draws_nothing(self):
        network = backbone("EfficientNetB0").network
        self.assertLen([layer for layer in network.layers if isinstance(layer, keras.layers.Dropout)], 9)
        drawn = []
        for calls in (0, 1):
            keras.utils.set_random_seed(7)
            for _ in range(calls):
                network(pixels(1, 32, 32, 3), training=True)
            drawn.append([random.random(), np.random.rand(), float(tf.random.uniform([]))])
        self.assertEqual(*drawn)


class RefusalsTest(parameterized.TestCase, tf.test.TestCase):
    @parameterized.parameters(
        ("InceptionV3", "has no map for level 3: of 256 × 288 pixels it must be 32 × 36, .* 29 × 33.*do not pad"),
        ("NASNetMobile", "gives no pyramid.*fails on 256 × 288 pixels.*differs in size"),
        ("resnet50", "which keras.applications does not have. Did you mean 'ResNet50'"),
        ("", "application is '', .* does not have. It has ConvNeXtBase, .*Xception"),
        (50, "KerasApplication.application is 50; it must be a string"),
    )
    def test_what_gives_no_pyramid_is_refused(self, application, message):
        with self.assertRaisesRegex(ConfigError, message):
            KerasApplication(application, mode="frozen_random")

    def test_levels_that_it_does_not_have(self):
        with self.assertRaisesRegex(ConfigError, "Xception has no map for level 2: .*256 × 288, 127 × 143, .*32 × 36"):
            KerasApplication("Xception", (2, 3), "frozen_random")
        impossible, wrong = "rising levels out of 1 to 5", "it must be a sequence of integers"
        for levels, words in (
            ((), impossible),
            ((3, 6), impossible),
            ((4, 3), impossible),
            (("3",), wrong),
            (3, wrong),
        ):
            with self.assertRaisesRegex(ConfigError, f"KerasApplication.levels is .* {words}"):
                KerasApplication("MobileNet", levels, "frozen_random")

    def test_modes_that_do_not_exist_and_random_weights_that_nobody_asked_for(self):
        with self.assertRaisesRegex(ConfigError, "KerasApplication.mode is 'forzen'"):
            KerasApplication("VGG16", mode="forzen")
        for mode in ("frozen", "fine_tune"):
            with self.assertRaisesRegex(FreezeError, f"mode is '{mode}' but the backbone has no pretrained weights"):
                KerasApplication("VGG16", mode=mode, weights=None)


class WeightsTest(tf.test.TestCase):
    def path(self, name):
        return os.path.join(self.get_temp_dir(), name)

    def test_weights_of_a_file(self):
        whole = plain("MobileNet")
        for name in ("whole.h5", "whole.weights.h5"):
            whole.save_weights(self.path(name))
            network = KerasApplication("MobileNet", (2, 5), weights=self.path(name))
            for layer in network.network.layers[1:]:
                for found, expected in zip(layer.get_weights(), whole.get_layer(layer.name).get_weights(), strict=True):
                    self.assertAllEqual(found, expected)
            self.assertEqual(network.weights_source, f"MobileNet, {self.path(name)}")
            self.assertTrue(network.frozen)
        again = keras.layers.deserialize(keras.layers.serialize(network))
        self.assertEqual(again.get_config(), network.get_config())
        self.assertAllEqual(again.get_weights()[-1], network.get_weights()[-1])

    def test_files_that_do_not_fit_are_refused(self):
        other = keras.Sequential([keras.layers.Dense(2, input_shape=(3,))])
        for name, network in [("other", other), ("narrow", plain("MobileNet", alpha=0.25))]:
            network.save_weights(self.path(f"{name}.h5"))
            network.save_weights(self.path(f"{name}.weights.h5"))
        with open(self.path("text.h5"), "w") as file:
            file.write("weights")
        names = ["other.h5", "other.weights.h5", "narrow.h5", "narrow.weights.h5", "text.h5", "missing.h5"]
        for path in [*map(self.path, names), self.get_temp_dir()]:
            with self.assertRaisesRegex(
                ConfigError, "(?s)which MobileNet cannot have: .*path of an .h5 file"
            ) as caught:
                KerasApplication("MobileNet", (1,), weights=path)
            self.assertIn(repr(path), str(caught.exception))

    def test_without_network_it_says_what_could_not_be_fetched_and_what_to_do(self):
        offline = mock.Mock(side_effect=urllib.error.URLError(OSError(-2, "Name or service not known")))
        home = mock.patch.dict(os.environ, {"HOME": self.get_temp_dir(), "KERAS_HOME": self.get_temp_dir()})
        with home, mock.patch("tf_keras.src.utils.data_utils.urlretrieve", offline):
            with self.assertRaisesRegex(
                ConfigError,
                r"(?s)weights is 'imagenet', which VGG16 cannot have: URL fetch failure on https://.*notop.h5.*"
                r"Name or service not known.*path of an .h5 file.*BACKBONE_MODE = 'scratch'.*'frozen_random'",
            ):
                KerasApplication("VGG16", (1,))
            self.assertEqual(offline.call_count, 1)
            for mode in ("scratch", "frozen_random"):
                self.assertIsNone(KerasApplication("VGG16", (1,), mode).weights_source)
            with self.assertRaisesRegex(ConfigError, "mode is 'forzen'"):
                KerasApplication("VGG16", (1,), "forzen")
            self.assertEqual(offline.call_count, 1)

    @pytest.mark.slow
    def test_efficientnet_sees_the_same_pixels_from_keras_and_from_a_file(self):
        published = plain("EfficientNetB0")
        published.get_layer(_normalization(published)).set_weights([MEAN, DEVIATION, np.int64(0)])
        published.save_weights(self.path("notop.h5"))
        images = pixels(1, 64, 32, 3)
        with mock.patch("tf_keras.src.utils.data_utils.get_file", lambda *args, **kwargs: self.path("notop.h5")):
            whole = plain("EfficientNetB0", weights="imagenet")
            keras.mixed_precision.set_global_policy("mixed_bfloat16")
            self.addCleanup(keras.mixed_precision.set_global_policy, "float32")
            half = KerasApplication("EfficientNetB0", (1, 2))(images)
            self.assertEqual(keras.mixed_precision.global_policy().name, "mixed_bfloat16")
            keras.mixed_precision.set_global_policy("float32")
        by_path = KerasApplication("EfficientNetB0", (1, 2), weights=self.path("notop.h5"))
        feature_maps = [whole.get_layer(name).output for name in OUTPUT_LAYERS["EfficientNetB0"][:2]]
        for level, expected in zip((1, 2), keras.Model(whole.inputs, feature_maps)(images), strict=True):
            scale = np.abs(expected).max()
            self.assertAllClose(by_path(images)[level], expected, rtol=0, atol=1e-5 * scale)
            self.assertEqual(half[level].dtype, tf.bfloat16)
            self.assertAllClose(tf.cast(half[level], tf.float32), expected, rtol=0, atol=0.1 * scale)


class GinFilesTest(tf.test.TestCase):
    def test_each_names_its_application(self):
        self.addCleanup(gin.clear_config)
        for name, channels in [
            ("efficientnet_b0", FAMILIES["EfficientNetB0"]),
            ("keras_application", FAMILIES["VGG16"]),
        ]:
            params = ["APPLICATION = 'VGG16'"] if name == "keras_application" else []
            load_config([f"backbones/{name}.gin"], ["BACKBONE_MODE = 'frozen_random'", *params])
            built = gin.query_parameter("BACKBONE/gin.macro.value").scoped_configurable_fn()
            self.assertEqual(dict(built.channels), {level: channels[level] for level in (3, 4, 5)})


def _normalization(network):
    return next(layer.name for layer in network.layers if isinstance(layer, keras.layers.Normalization))


if __name__ == "__main__":
    tf.test.main()
