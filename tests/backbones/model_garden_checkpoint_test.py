import os
import re
import tarfile
import tempfile

import numpy as np
import tensorflow as tf
from official.vision.modeling.backbones.mobilenet import MobileNet
from official.vision.modeling.backbones.resnet import ResNet
from official.vision.modeling.classification_model import ClassificationModel
from official.vision.modeling.decoders.fpn import FPN
from official.vision.modeling.heads.dense_prediction_heads import RetinaNetHead
from official.vision.modeling.layers.detection_generator import MultilevelDetectionGenerator
from official.vision.modeling.retinanet_model import RetinaNetModel
from official.vision.modeling.segmentation_model import SegmentationModel

from tf_frozen.backbones.model_garden_checkpoint import load_model_garden_checkpoint
from tf_frozen.errors import ConfigError
from tf_frozen.keras_flavor import keras
from tf_frozen.layers.building import unallocated


def resnet(**settings):
    """A narrow ResNet-10 of Model Garden's whose every variable is a random number, moving statistics too."""
    return scattered(ResNet(10, **{"depth_multiplier": 0.125, **settings}))


def scattered(network):
    for variable in network.variables:
        variable.assign(np.random.uniform(0.5, 1.5, variable.shape))
    return network


def classifier(network):
    return ClassificationModel(network, num_classes=3)


def decoder(network):
    return FPN(network.output_specs, 3, 5, num_filters=8)


def detector(network):
    return RetinaNetModel(network, decoder(network), RetinaNetHead(3, 5, 2, 3), MultilevelDetectionGenerator())


def segmenter(network):
    """The backbone is its `backbone`, as Mask R-CNN's; the other two keep it as `_backbone`."""
    return SegmentationModel(network, decoder(network), head=keras.layers.Layer())


def bare(network):
    return network


def trained(model):
    """What Model Garden's trainer saves (official/core/base_trainer.py), after a step: with an optimizer's slots."""
    optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
    optimizer.apply_gradients([(tf.ones_like(variable), variable) for variable in model.trainable_variables])
    step = tf.Variable(1, dtype=tf.int64)
    return tf.train.Checkpoint(global_step=step, model=model, optimizer=optimizer, **model.checkpoint_items)


class CheckpointTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        keras.utils.set_random_seed(0)
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def path(self, *parts):
        return os.path.join(self.folder, *parts)

    def assertLoads(self, source, written, network=None):
        """Every variable of a new network gets the written one's value, and had another."""
        network = network or resnet()
        before = network.get_weights()
        load_model_garden_checkpoint(network, source)
        self.assertGreater(len(before), 60)
        for old, new, expected in zip(before, network.get_weights(), written.get_weights(), strict=True):
            self.assertNotAllClose(old, expected)
            self.assertAllEqual(new, expected)

    def assertRefuses(self, network, source, *messages):
        """An error with these lines, and the network is as it was."""
        before = network.get_weights()
        with self.assertRaises(ConfigError) as caught:
            load_model_garden_checkpoint(network, source)
        for message in messages:
            self.assertRegex(str(caught.exception), message)
        for old, new in zip(before, network.get_weights(), strict=True):
            self.assertAllEqual(old, new)
        return str(caught.exception)


class LayoutTest(CheckpointTest):
    def test_a_published_one(self):
        written = resnet()
        prefix = tf.train.Checkpoint(backbone=written).save(self.path("published", "ckpt"))
        with tarfile.open(self.path("published.tar.gz"), "w:gz") as archive:
            archive.add(self.path("published"), "resnet-10")
        for source in (prefix, self.path("published"), self.path("published.tar.gz")):
            self.assertLoads(source, written)

    def test_the_trainer_s_of_a_classifier(self):
        written = resnet()
        checkpoint = trained(classifier(written))
        self.assertLoads(checkpoint.save(self.path("ckpt")), written)
        self.assertLoads(self.path(), written)

    def test_the_trainer_s_of_a_detector(self):
        written = resnet()
        checkpoint = trained(detector(written))
        self.assertLoads(checkpoint.save(self.path("ckpt")), written)

    def test_a_model_alone(self):
        for around in (classifier, detector, segmenter, bare):
            written = resnet()
            prefix = tf.train.Checkpoint(model=around(written)).write(self.path(around.__name__))
            self.assertLoads(prefix, written)

    def test_any_network_of_model_garden(self):
        settings = {"model_id": "MobileNetV3Small", "filter_size_scale": 0.35}
        written = scattered(MobileNet(**settings))
        prefix = tf.train.Checkpoint(backbone=written).write(self.path("mobile"))
        self.assertLoads(prefix, written, scattered(MobileNet(**settings)))

    def test_every_setting_of_a_resnet(self):
        settings = {"stem_type": "v1", "replace_stem_max_pool": True, "se_ratio": 0.25, "activation": "swish"}
        written = resnet(**settings)
        prefix = tf.train.Checkpoint(backbone=written).write(self.path("rs"))
        self.assertLoads(prefix, written, resnet(**settings))


class StrategyTest(CheckpointTest):
    def test_in_half_precision_and_under_a_strategy(self):
        written = resnet()
        prefix = tf.train.Checkpoint(backbone=written).write(self.path("ckpt"))
        policy = keras.mixed_precision.global_policy()
        keras.mixed_precision.set_global_policy("mixed_bfloat16")
        self.addCleanup(keras.mixed_precision.set_global_policy, policy)
        with tf.distribute.MirroredStrategy(["cpu:0"]).scope():
            network = resnet()
            self.assertLoads(prefix, written, network)
        self.assertEqual(network.layers[1].compute_dtype, "bfloat16")

    def test_a_network_without_values_is_left_alone(self):
        with unallocated():
            network = ResNet(10)
        load_model_garden_checkpoint(network, self.path("nowhere"))


class FaultTest(CheckpointTest):
    def write(self, name="ckpt", **objects):
        return tf.train.Checkpoint(**objects).write(self.path(name))

    def test_what_the_checkpoint_lacks_is_listed(self):
        plain, gated = resnet(), resnet(se_ratio=0.25)
        lacks = (
            r"\n  16 missing in the checkpoint:\n    layer_with_weights-2/_squeeze_excitation/_se_reduce/kernel float"
        )
        message = self.assertRefuses(
            gated,
            self.write(backbone=plain),
            f"init_checkpoint '{self.path('ckpt')}' holds, as its `backbone`, another network than res_net",
            r": 65 variables there, 81 here,",
            lacks + r"32\[1, 1, 8, 2\]",
            r"\n    and 6 more\nUse the depth and the settings that it was trained with",
        )
        self.assertLen(re.findall("_squeeze_excitation", message), 10)
        self.assertNotIn("does not have", message)

    def test_what_the_network_lacks_is_listed(self):
        """Every variable of the network would be found: it is the features that would be wrong."""
        plain, gated = resnet(), resnet(se_ratio=0.25)
        extra = (
            r"\n  16 that the network does not have:\n    layer_with_weights-2/_squeeze_excitation/_se_expand/bias f"
        )
        message = self.assertRefuses(plain, self.write(model=classifier(gated)), "as its `model/_backbone`", extra)
        self.assertNotIn("missing", message)

    def test_another_width_or_depth_is_listed(self):
        prefix = self.write(backbone=resnet())
        kernel = r"layer_with_weights-0/kernel: float32\[7, 7, 3, 8\] there, float32\[7, 7, 3, 16\] here"
        self.assertRefuses(resnet(depth_multiplier=0.25), prefix, "65 of another shape or dtype:", kernel)
        deeper = ResNet(18, depth_multiplier=0.125)
        self.assertRefuses(deeper, prefix, "50 missing", "10 that the network", "35 of another shape", "and 40 more")

    def test_one_variable_is_enough(self):
        def network(units=2, dtype="float32", norm=True):
            layers = [keras.layers.Dense(units, dtype=dtype)] + [keras.layers.BatchNormalization()] * norm
            return keras.Sequential([keras.Input([3]), *layers])

        here = network()
        other = self.write("dtype", backbone=network(dtype="float64"))
        self.assertRefuses(here, other, r"-0/kernel: float64\[3, 2\] there, float32\[3, 2\] here")
        self.assertRefuses(here, self.write("less", backbone=network(norm=False)), "4 missing", "-1/moving_mean")
        self.assertRefuses(network(norm=False), self.write("more", backbone=here), "4 that the", "-1/moving_variance")

    def test_a_checkpoint_of_something_else_says_what_it_holds(self):
        prefix = self.write(detector=resnet(), optimizer=keras.optimizers.SGD())
        held = "neither `backbone` nor `model` at its top, but\n  2 names:\n    detector\n    optimizer\nSave"
        self.assertRefuses(resnet(), prefix, held)

    def test_a_checkpoint_by_names_is_refused(self):
        with tf.Graph().as_default(), tf.compat.v1.Session() as session:
            variable = tf.compat.v1.get_variable("resnet/conv2d/kernel", initializer=1.0)
            session.run(variable.initializer)
            prefix = tf.compat.v1.train.Saver().save(session, self.path("model.ckpt"))
        self.assertRefuses(resnet(), prefix, "is not an object checkpoint.* 1 variables by name alone")

    def test_a_damaged_one_is_refused(self):
        prefix = self.write(backbone=resnet())
        contents = {}
        for part in ("data-00000-of-00001", "index"):
            with open(f"{prefix}.{part}", "rb") as file:
                contents[part] = file.read()
        for part, content in contents.items():
            for damaged in (content[: len(content) // 2], b"", content[:-200] + bytes(100) + content[-100:]):
                with open(f"{prefix}.{part}", "wb") as file:
                    file.write(damaged)
                with self.assertRaisesRegex(ConfigError, "ckpt' cannot be read: .*Fetch it again"):
                    load_model_garden_checkpoint(resnet(), prefix)
                with open(f"{prefix}.{part}", "wb") as file:
                    file.write(content)
        os.remove(f"{prefix}.data-00000-of-00001")
        self.assertRefuses(resnet(), prefix, "ckpt' cannot be read: .*Fetch it again")


if __name__ == "__main__":
    tf.test.main()
