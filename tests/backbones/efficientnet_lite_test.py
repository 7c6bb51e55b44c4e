import os
from importlib import resources

import numpy as np
import tensorflow as tf

from tests.backbones import numpy_efficientnet
from tests.layer_suite import LayerSuite
from tf_frozen.backbones.efficientnet_lite import EfficientNetLite
from tf_frozen.data import images
from tf_frozen.data.paths import resolve
from tf_frozen.errors import ConfigError, FreezeError
from tf_frozen.keras_flavor import keras

CHANNELS = {1: 16, 2: 24, 3: 40, 4: 112, 5: 320}


def tile():
    """96 × 64 pixels out of a photograph, float32 [1, 96, 64, 3] in 0…255."""
    path = os.path.join(resolve("embedded:neon_trees/train"), "train_0000_0000.jpg")
    return images.read(path)[np.newaxis, 100:196, 80:144].astype(np.float32)


def embedded_weights():
    file = "weights/efficientnet_lite0_imagenet_notop_float16.npz"
    with (resources.files("tf_frozen.backbones") / file).open("rb") as stream:
        return dict(np.load(stream))


class EfficientNetLiteSuiteTest(LayerSuite, tf.test.TestCase):
    float32_outputs = False

    def layer(self):
        return EfficientNetLite(levels=(2, 3))

    def trainable_layer(self):
        return EfficientNetLite(levels=(2, 3), mode="fine_tune")

    def inputs(self, batch, size):
        images = tf.random.stateless_uniform([batch, *size, 3], [1, 2], maxval=255.0)
        return EfficientNetLite(levels=(1,)).preprocess(images)

    def shapes(self, batch, size):
        return {level: (batch, *(-(-side // 2**level) for side in size), CHANNELS[level]) for level in (2, 3)}


class ImageNetWeightsTest(tf.test.TestCase):
    def test_features_of_a_photograph_are_those_of_a_slow_numpy_network(self):
        backbone, image = EfficientNetLite(levels=(2, 3, 4, 5)), tile()
        outputs = backbone(backbone.preprocess(image))
        expected = numpy_efficientnet.features(image[0], embedded_weights())
        self.assertEqual(sorted(outputs), [2, 3, 4, 5])
        for level, output in outputs.items():
            scale = np.abs(expected[level]).max()
            self.assertAllClose(output[0] / scale, expected[level] / scale, rtol=0, atol=1e-5)

    def test_every_weight_up_to_the_highest_tap_comes_from_the_file(self):
        arrays = embedded_weights()
        counts = {2: 1 + 2 * 4, 3: 1 + 4 * 4, 4: 1 + 10 * 4, 5: 1 + 15 * 4}
        for level in counts:
            network = EfficientNetLite(levels=(level,)).network
            for layer in network.layers:
                for index, weight in enumerate(layer.get_weights()):
                    self.assertAllEqual(weight, arrays[f"{layer.name}/{index}"])
        used = sum(len(layer.weights) for layer in network.layers)
        self.assertEqual(used, len([key for key in arrays if not key.startswith("head_")]))

    def test_preprocessing_centres_on_127(self):
        pixels = EfficientNetLite(levels=(1,)).preprocess(tf.constant([0.0, 127.0, 255.0]))
        self.assertAllClose(pixels, [-127 / 128, 0.0, 1.0])

    def test_its_source_is_told(self):
        self.assertEqual(EfficientNetLite(levels=(1,)).weights_source, "EfficientNet-Lite0, imagenet")
        self.assertIsNone(EfficientNetLite(levels=(1,), mode="scratch").weights_source)


class VariantsTest(tf.test.TestCase):
    def test_parameters_with_the_classifier_are_the_published_millions(self):
        """4.65, 5.42, 6.09, 8.20 and 13.01 M with the 1280-filter convolution, its norm and 1000 classes on top."""
        for variant, millions in enumerate((4.65, 5.42, 6.09, 8.20, 13.01)):
            backbone = EfficientNetLite(variant, (5,), "scratch")
            body = sum(weight.shape.num_elements() for weight in backbone.trainable_weights)
            head = backbone.channels[5] * 1280 + 2 * 1280 + 1280 * 1000 + 1000
            self.assertAlmostEqual((body + head) / 1e6, millions, delta=0.006)

    def test_taps_have_the_channels_and_strides_they_promise(self):
        backbone = EfficientNetLite(levels=(1, 2, 3, 4, 5))
        self.assertEqual(dict(backbone.channels), CHANNELS)
        outputs = backbone(tf.zeros([1, 64, 32, 3]))
        for level, output in outputs.items():
            self.assertEqual(output.shape, [1, 64 >> level, 32 >> level, CHANNELS[level]])

    def test_what_does_not_exist_is_refused(self):
        for arguments, message in [
            ({"variant": 5}, "variant is 5; it must be 0 to 4"),
            ({"levels": (3, 6)}, r"levels is \(3, 6\)"),
            ({"levels": (4, 3)}, r"rising levels out of 1 to 5"),
            ({"levels": ()}, "rising levels"),
            ({"variant": 1}, "only Lite0 brings them and the variant is 1"),
            ({"mode": "forzen"}, "mode is 'forzen'; it must be one of 'frozen', 'fine_tune', .*'scratch'"),
        ]:
            with self.assertRaisesRegex(ConfigError, message):
                EfficientNetLite(**arguments)


class WeightsFileTest(tf.test.TestCase):
    def path(self, name):
        return os.path.join(self.get_temp_dir(), name)

    def test_weights_of_one_s_own(self):
        arrays = embedded_weights()
        arrays["stem_conv/0"] = np.full_like(arrays["stem_conv/0"], 0.25)
        np.savez(self.path("mine.npz"), **arrays)
        backbone = EfficientNetLite(levels=(3,), weights=self.path("mine.npz"))
        self.assertAllEqual(backbone.network.get_layer("stem_conv").get_weights()[0], np.full([3, 3, 3, 32], 0.25))
        self.assertIn("mine.npz", backbone.weights_source)

    def test_weights_of_another_network_are_refused(self):
        arrays = embedded_weights()
        np.savez(self.path("less.npz"), **{key: value for key, value in arrays.items() if key != "b1_dw/0"})
        with self.assertRaisesRegex(ConfigError, "b1_dw/0 is missing, the network needs .*another network"):
            EfficientNetLite(levels=(2,), weights=self.path("less.npz"))
        np.savez(self.path("other.npz"), **{**arrays, "b1_dw/0": np.zeros([5, 5, 96, 1])})
        with self.assertRaisesRegex(ConfigError, r"b1_dw/0 has shape \(5, 5, 96, 1\).*needs \(3, 3, 96, 1\)"):
            EfficientNetLite(levels=(2,), weights=self.path("other.npz"))

    def test_files_that_are_no_weights_are_refused(self):
        np.savez(self.path("whole.npz"), **embedded_weights())
        with open(self.path("whole.npz"), "rb") as file:
            whole = file.read()
        np.save(self.path("array.npy"), np.zeros(3))
        contents = {"empty.npz": b"", "text.npz": b"weights", "half.npz": whole[: len(whole) // 2]}
        for name, content in contents.items():
            with open(self.path(name), "wb") as file:
                file.write(content)
        for name in (*contents, "array.npy", "missing.npz"):
            with self.assertRaisesRegex(ConfigError, f"{name}.*can't be read as .npz"):
                EfficientNetLite(levels=(1,), weights=self.path(name))


class ModesTest(tf.test.TestCase):
    def test_what_trains_in_each_mode(self):
        trains = {"frozen": False, "fine_tune": True, "scratch": True, "frozen_random": False}
        for mode, expected in trains.items():
            backbone = EfficientNetLite(levels=(3,), mode=mode)
            self.assertEqual(bool(backbone.trainable_variables), expected, mode)
            self.assertEqual(backbone.frozen, not expected, mode)

    def test_random_weights_are_frozen_only_when_asked_for_by_name(self):
        for mode in ("frozen", "fine_tune"):
            with self.assertRaisesRegex(FreezeError, f"mode is '{mode}' but the backbone has no pretrained weights"):
                EfficientNetLite(levels=(1,), mode=mode, weights=None)
        for mode in ("scratch", "frozen_random"):
            first, second = (EfficientNetLite(levels=(1,), mode=mode).get_weights()[0] for _ in range(2))
            self.assertNotAllClose(first, second)
            self.assertNotAllClose(first, embedded_weights()["stem_conv/0"])

    def test_a_frozen_backbone_runs_the_same_in_training_bit_for_bit(self):
        for mode in ("frozen", "frozen_random"):
            backbone = EfficientNetLite(mode=mode)
            before = backbone.get_weights()
            inputs = backbone.preprocess(tile())
            inference, training = backbone(inputs, training=False), backbone(inputs, training=True)
            for level, output in inference.items():
                self.assertAllEqual(output, training[level])
            for old, new in zip(before, backbone.get_weights(), strict=True):
                self.assertAllEqual(old, new)

    def test_a_fine_tuned_backbone_normalises_by_the_batch_and_moves_its_statistics(self):
        backbone = EfficientNetLite(levels=(3,), mode="fine_tune")
        norm = backbone.network.get_layer("stem_bn")
        before = [weight.numpy() for weight in norm.weights]
        inputs = backbone.preprocess(tile())
        inference, training = backbone(inputs, training=False), backbone(inputs, training=True)
        self.assertNotAllClose(inference[3], training[3])
        gamma, beta, mean, variance = (weight.numpy() for weight in norm.weights)
        self.assertAllEqual((gamma, beta), before[:2])
        self.assertNotAllClose(mean, before[2])
        self.assertNotAllClose(variance, before[3])

    def test_configuration_keeps_the_mode_and_loads_the_weights_again(self):
        backbone = EfficientNetLite(levels=(2, 3), mode="fine_tune")
        again = keras.layers.deserialize(keras.layers.serialize(backbone))
        self.assertEqual((again.mode, again.levels), ("fine_tune", (2, 3)))
        for old, new in zip(backbone.get_weights(), again.get_weights(), strict=True):
            self.assertAllEqual(old, new)


if __name__ == "__main__":
    tf.test.main()
