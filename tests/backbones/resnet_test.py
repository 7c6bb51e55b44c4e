import os
import tempfile

import gin
import numpy as np
import tensorflow as tf
from official.vision.configs import backbones, common
from official.vision.modeling.backbones import resnet as model_garden
from official.vision.ops.preprocess_ops import normalize_image

from tests.layer_suite import LayerSuite
from tf_frozen.backbones.resnet import ResNet, ResNetRS
from tf_frozen.config.load import load_config
from tf_frozen.errors import ConfigError, FreezeError
from tf_frozen.keras_flavor import keras
from tf_frozen.layers.building import unallocated

NARROW = {"model_id": 10, "depth_multiplier": 0.125}
# The settings of the official YAMLs, in Model Garden's own configuration.
OFFICIAL = {
    "stem_type": "v1",
    "resnetd_shortcut": True,
    "replace_stem_max_pool": True,
    "scale_stem": True,
    "se_ratio": 0.25,
}


def build_with_model_garden(activation, use_sync_bn=False, **settings):
    """A backbone as Model Garden builds it from a config, its every variable a random number."""
    network = model_garden.build_resnet(
        keras.layers.InputSpec(shape=[None, None, None, 3]),
        backbones.Backbone(type="resnet", resnet=backbones.ResNet(**settings)),
        common.NormActivation(activation=activation, use_sync_bn=use_sync_bn, norm_epsilon=1e-5),
        keras.regularizers.L2(1e-4),
    )
    for variable in network.variables:
        # Variances near 1 and kernels as they are: the maps keep their size from layer to layer.
        if "kernel" not in variable.name:
            variable.assign_add(np.random.uniform(0.0, 0.5, variable.shape))
    return network


def save(network, folder):
    """The prefix of a checkpoint in the layout of the published ones."""
    return tf.train.Checkpoint(backbone=network).write(os.path.join(folder, network.name))


def images(size, batch=2):
    return tf.random.stateless_normal([batch, *size, 3], [1, 2])


class Folder:
    """Mixin of a test case: one folder for its checkpoints, and a narrow ResNet-RS's in it."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = folder.name
        keras.utils.set_random_seed(0)
        cls.written = build_with_model_garden("swish", **OFFICIAL, **NARROW)
        cls.checkpoint = save(cls.written, cls.folder)


class ResNetRSSuiteTest(Folder, LayerSuite, tf.test.TestCase):
    float32_outputs = False

    def layer(self):
        return ResNetRS(levels=(2, 4), init_checkpoint=self.checkpoint, **NARROW)

    def trainable_layer(self):
        return ResNetRS(levels=(2, 4), mode="fine_tune", init_checkpoint=self.checkpoint, **NARROW)

    def inputs(self, batch, size):
        return images(size, batch)

    def shapes(self, batch, size):
        channels = {2: 8, 4: 32}
        return {level: (batch, *(-(-side // 2**level) for side in size), channels[level]) for level in (2, 4)}


class AgainstModelGardenTest(Folder, tf.test.TestCase):
    def check(self, ours, theirs):
        self.assertEqual(sorted(ours.channels), [2, 3, 4, 5])
        for size in ((64, 64), (45, 70)):
            for training in (False, True):  # the second time with the statistics that the first has moved
                outputs = ours(images(size), training=training)
                expected = theirs(images(size), training=training and not ours.frozen)
                for level, output in outputs.items():
                    self.assertGreater(np.abs(output).max(), 0.1)
                    self.assertLess(np.abs(output).max(), 100.0)
                    self.assertAllClose(output, expected[str(level)], rtol=0, atol=1e-4)

    def test_taps_of_resnet_18(self):
        theirs = build_with_model_garden("relu", model_id=18)
        prefix = save(theirs, self.folder)
        self.check(ResNet(18, init_checkpoint=prefix), theirs)
        self.check(ResNet(18, mode="fine_tune", init_checkpoint=prefix), theirs)

    def test_taps_of_resnet_rs_50(self):
        theirs = build_with_model_garden("swish", use_sync_bn=True, model_id=50, depth_multiplier=0.25, **OFFICIAL)
        prefix = save(theirs, self.folder)
        self.check(ResNetRS(50, depth_multiplier=0.25, init_checkpoint=prefix), theirs)

    def test_pixels_are_normalised_as_there(self):
        pixels = tf.random.stateless_uniform([2, 3, 5, 3], [1, 2], maxval=255.0)
        backbone = ResNet(mode="scratch", levels=(2,), **NARROW)
        self.assertAllClose(backbone.preprocess(pixels), normalize_image(pixels / 255.0), rtol=0, atol=1e-6)
        mean = tf.constant([0.485 * 255, 0.456 * 255, 0.406 * 255])
        self.assertAllClose(backbone.preprocess(mean), np.zeros(3), atol=1e-6)


class ArchitectureTest(tf.test.TestCase):
    def test_maps_of_odd_sides_are_rounded_up(self):
        bottlenecks = {"model_id": 50, "depth_multiplier": 0.125}
        for backbone in (
            ResNet(mode="scratch", **NARROW),
            ResNetRS(mode="scratch", **NARROW),
            ResNet(mode="scratch", **bottlenecks),
            ResNetRS(mode="scratch", **bottlenecks),
        ):
            for size in ((73, 41), (33, 66), (1, 63)):
                for level, output in backbone(images(size)).items():
                    self.assertEqual(output.shape[1:3], [-(-side // 2**level) for side in size], (size, level))

    def test_keeps_only_what_its_taps_need(self):
        with tempfile.TemporaryDirectory() as folder:
            prefix = save(build_with_model_garden("relu", **NARROW), folder)
            whole, cut = (ResNet(levels=levels, init_checkpoint=prefix, **NARROW) for levels in ((2, 3, 4, 5), (3,)))
        self.assertAllEqual(cut(images((64, 64)))[3], whole(images((64, 64)))[3])
        self.assertEqual(list(cut.channels), [3])
        self.assertLen(cut.weights, 5 + 2 * 15)
        self.assertLen(whole.weights, 5 + 4 * 15)

    def test_settings_of_the_norms_reach_the_network(self):
        backbone = ResNetRS(mode="scratch", **NARROW)
        self.assertEqual((backbone.norm_epsilon, ResNet(mode="scratch", **NARROW).norm_epsilon), (1e-5, 1e-5))
        other = ResNet(mode="scratch", norm_epsilon=1e-3, norm_momentum=0.5, use_sync_bn=True, **NARROW)
        norm = next(each for each in other.submodules if isinstance(each, keras.layers.BatchNormalization))
        self.assertEqual((other.norm_epsilon, norm.momentum, norm.synchronized), (1e-3, 0.5, True))

    def test_what_does_not_exist_is_refused(self):
        for arguments, message in [
            ({"model_id": 51}, "ResNetRS.model_id is 51; it must be one of 10, 18, 26, .*, 350, 420"),
            ({"model_id": "50"}, "model_id is '50'"),
            ({"levels": (1, 2)}, r"ResNetRS.levels is \(1, 2\); it must be rising levels out of 2 to 5"),
            ({"levels": (4, 3)}, r"levels is \(4, 3\)"),
            ({"stem_type": "v2"}, "stem_type is 'v2'; it must be 'v0' .* or 'v1'"),
            ({"se_ratio": 4}, "se_ratio is 4; it must be a number from 0 to 1"),
            ({"init_stochastic_depth_rate": 1.0}, "init_stochastic_depth_rate is 1.0"),
            ({"mode": "forzen"}, "ResNetRS.mode is 'forzen'; it must be one of 'frozen'"),
        ]:
            with self.assertRaisesRegex(ConfigError, message):
                ResNetRS(**{"mode": "scratch", **NARROW, **arguments})


class ModesTest(Folder, tf.test.TestCase):
    def test_what_trains_and_what_is_read_in_each_mode(self):
        trains = {"frozen": False, "fine_tune": True, "scratch": True, "frozen_random": False}
        source = f"ResNetRS-10, {self.checkpoint}"
        for mode, expected in trains.items():
            read = mode in ("frozen", "fine_tune")
            named = self.checkpoint if read else "/nothing/is_there"
            backbone = ResNetRS(mode=mode, init_checkpoint=named, **NARROW)
            self.assertEqual((bool(backbone.trainable_variables), backbone.frozen), (expected, not expected))
            self.assertEqual(backbone.weights_source, source if read else None)
            backbone.trainable = True  # gives the weights Model Garden's order
            for weight, written in zip(backbone.get_weights(), self.written.get_weights(), strict=True):
                self.assertEqual(np.array_equal(weight, written), read)

    def test_random_weights_are_frozen_only_when_asked_for_by_name(self):
        for mode in ("frozen", "fine_tune"):
            with self.assertRaisesRegex(FreezeError, f"ResNet.mode is '{mode}' but the backbone has no pretrained"):
                ResNet(mode=mode, **NARROW)

    def test_a_checkpoint_that_does_not_fit_is_refused(self):
        with self.assertRaisesRegex(ConfigError, "another network than resnet_10.*81 variables|missing"):
            ResNet(init_checkpoint=self.checkpoint, **NARROW)
        with self.assertRaisesRegex(ConfigError, "nothing is there"):
            ResNet(init_checkpoint="/nothing/is_there", **NARROW)

    def test_stochastic_depth_rests_where_frozen_and_works_where_trained(self):
        rate = {"init_stochastic_depth_rate": 0.9, "init_checkpoint": self.checkpoint, **NARROW}
        frozen, inputs = ResNetRS(**rate), images((64, 64), batch=8)
        before = frozen.get_weights()
        for level, output in frozen(inputs, training=True).items():
            self.assertAllEqual(output, ResNetRS(init_checkpoint=self.checkpoint, **NARROW)(inputs)[level])
        for old, new in zip(before, frozen.get_weights(), strict=True):
            self.assertAllEqual(old, new)
        trained = ResNetRS(mode="fine_tune", **rate)
        self.assertNotAllClose(trained(inputs, training=True)[5], trained(inputs, training=True)[5])

    def test_no_regularizer_is_left_to_the_loss(self):
        """Weight decay is the detector's: Model Garden's would count it twice, and of frozen kernels too."""
        for mode in ("fine_tune", "frozen"):
            backbone = ResNetRS(mode=mode, init_checkpoint=self.checkpoint, **NARROW)
            backbone(images((32, 32)), training=True)
            self.assertEmpty(backbone.losses)
        self.assertNotEmpty(self.written.losses)


class SavedModelTest(Folder, tf.test.TestCase):
    def test_a_keras_file_brings_its_weights_and_needs_no_checkpoint(self):
        prefix = save(self.written, os.path.join(self.folder, "moved"))
        backbone = ResNetRS(levels=(2, 5), mode="fine_tune", init_checkpoint=prefix, **NARROW)
        inputs = keras.Input([64, 64, 3])
        model = keras.Model(inputs, list(backbone(inputs).values()))
        for weight in model.trainable_weights:
            weight.assign_add(0.1 * tf.ones_like(weight))
        path = os.path.join(self.folder, "model.keras")
        model.save(path)
        config = backbone.get_config()
        os.remove(f"{prefix}.index")
        again = keras.models.load_model(path)
        for found, expected in zip(again(images((64, 64))), model(images((64, 64))), strict=True):
            self.assertAllEqual(found, expected)
        with self.assertRaisesRegex(ConfigError, "moved.*nothing is there"):
            ResNetRS.from_config(config)


class GinTest(tf.test.TestCase):
    def test_each_file_builds_the_network_with_the_paper_s_parameters(self):
        self.addCleanup(gin.clear_config)
        for name, kind, depth, millions in [
            ("resnet50", ResNet, 50, 23.508),
            ("resnet101", ResNet, 101, 42.500),
            ("resnet_rs50", ResNetRS, 50, 33.643),
            ("resnet_rs101", ResNetRS, 101, 61.570),
        ]:
            load_config([f"backbones/{name}.gin"], ["BACKBONE_MODE = 'frozen'", "INIT_CHECKPOINT = '/some/where'"])
            with unallocated():  # which reads no checkpoint
                backbone = gin.query_parameter("BACKBONE/gin.macro.value").scoped_configurable_fn()
            self.assertIs(type(backbone), kind)
            self.assertEqual((backbone.model_id, backbone.mode), (depth, "frozen"))
            self.assertEqual((backbone.init_checkpoint, backbone.norm_epsilon), ("/some/where", 1e-5))
            self.assertEqual(dict(backbone.channels), {2: 256, 3: 512, 4: 1024, 5: 2048})
            trainable = [weight.shape.num_elements() for weight in backbone.weights if weight.trainable]
            self.assertAlmostEqual(sum(trainable) / 1e6, millions, places=3)


if __name__ == "__main__":
    tf.test.main()
