import tensorflow as tf

from tf_frozen.backbones.backbone import Backbone, checked_levels
from tf_frozen.errors import ConfigError, FreezeError
from tf_frozen.keras_flavor import keras


class Halves(Backbone):
    """A backbone in a few lines, as anyone may write one: each level halves the one before."""

    def __init__(self, mode, source="somewhere", epsilons=(1e-5, 1e-5)):
        inputs = x = keras.Input([None, None, 3])
        maps = []
        for channels, epsilon in zip((2, 3), epsilons, strict=True):
            x = keras.layers.Conv2D(channels, 3, 2, "same", kernel_regularizer="l2")(x)
            x = keras.layers.Dropout(0.5)(keras.layers.BatchNormalization(epsilon=epsilon)(x))
            maps.append(x)
        super().__init__(keras.Model(inputs, maps), (1, 2), mode, source)

    def preprocess(self, images):
        return images / 255.0


class BackboneTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.images = tf.random.stateless_uniform([2, 20, 12, 3], [1, 2])

    def test_maps_are_keyed_by_level(self):
        backbone = Halves("frozen")
        outputs = backbone(self.images)
        self.assertEqual({k: tuple(v.shape) for k, v in outputs.items()}, {1: (2, 10, 6, 2), 2: (2, 5, 3, 3)})
        self.assertEqual(dict(backbone.channels), {1: 2, 2: 3})

    def test_dropout_and_norms_of_a_frozen_backbone_rest_in_training(self):
        backbone = Halves("frozen")
        before = backbone.get_weights()
        self.assertAllEqual(backbone(self.images, training=True)[2], backbone(self.images, training=False)[2])
        self.assertAllEqual(before[4], backbone.get_weights()[4])

    def test_dropout_and_norms_of_a_fine_tuned_backbone_work_in_training(self):
        backbone = Halves("fine_tune")
        self.assertNotAllClose(backbone(self.images, training=True)[2], backbone(self.images, training=True)[2])
        self.assertNotAllClose(backbone(self.images, training=True)[2], backbone(self.images, training=False)[2])

    def test_a_layer_unfrozen_in_a_frozen_backbone_makes_it_train(self):
        backbone = Halves("frozen")
        self.assertTrue(backbone.frozen)
        backbone.trainable = True
        self.assertFalse(backbone.frozen)

    def test_modes_and_weights_that_contradict_are_refused(self):
        with self.assertRaisesRegex(ConfigError, "Halves.mode is 'freeze'; it must be one of .*'frozen_random'"):
            Halves("freeze")
        with self.assertRaisesRegex(ConfigError, "Halves.mode is True"):
            Halves(True)
        with self.assertRaisesRegex(FreezeError, "ask for random ones by name: BACKBONE_MODE = 'scratch'"):
            Halves("frozen", source=None)
        self.assertTrue(Halves("frozen_random", source=None).frozen)

    def test_the_epsilon_of_its_norms(self):
        self.assertEqual(Halves("scratch").norm_epsilon, 1e-5)
        inputs = keras.Input([None, None, 2])
        norm = keras.layers.experimental.SyncBatchNormalization(epsilon=0.25)
        nested = keras.Sequential([keras.layers.Conv2D(2, 1), keras.Sequential([norm])])
        self.assertEqual(Backbone(keras.Model(inputs, nested(inputs)), (0,), "scratch", None).norm_epsilon, 0.25)
        bare = keras.Model(inputs, keras.layers.LayerNormalization(epsilon=0.5)(inputs))
        self.assertIsNone(Backbone(bare, (0,), "scratch", None).norm_epsilon)

    def test_norms_of_several_epsilons_have_no_one_epsilon(self):
        backbone = Halves("scratch", epsilons=(1e-5, 1e-3))
        with self.assertRaisesRegex(ConfigError, r"Halves \(model.*\) have several epsilons, 1e-05, 0.001; read each"):
            _ = backbone.norm_epsilon

    def test_levels_that_do_not_rise_or_exist_are_refused(self):
        self.assertEqual(checked_levels([2, 4], range(1, 6), "Halves"), (2, 4))
        for levels in ((3, 2), (2, 2), (0, 1), (5, 6), (), 3, None, "34"):
            with self.assertRaisesRegex(ConfigError, r"Halves.levels is .*; it must be rising levels out of 1 to 5"):
                checked_levels(levels, range(1, 6), "Halves")

    def test_preprocessing_is_the_backbone_s_own(self):
        with self.assertRaisesRegex(NotImplementedError, "Backbone must say how its weights want their images"):
            Backbone(keras.Sequential(), (1,), "scratch", None).preprocess(self.images)


if __name__ == "__main__":
    tf.test.main()
