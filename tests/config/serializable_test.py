import tensorflow as tf

from tests.layers.configured_test import Stack
from tf_frozen.config.ranges import PositiveFloat
from tf_frozen.config.serializable import Serializable
from tf_frozen.errors import ConfigError
from tf_frozen.keras_flavor import keras


class Scale(Serializable):
    def __init__(self, factor: PositiveFloat = 2.0, ratios=(1.0,), inner=None):
        self.factor, self.ratios, self.inner = factor, tuple(ratios), inner


class Forgetful(Serializable):
    def __init__(self, factor: float):
        pass


class SerializableTest(tf.test.TestCase):
    def test_a_layer_keeps_it_and_objects_inside_it(self):
        """Neither class is registered with Keras: they are found by their modules."""
        scale = Scale(3, (0.5, 2), inner=Scale(4))
        layer = Stack([scale], norm=scale)
        with keras.utils.custom_object_scope({"Stack": Stack}):
            again = keras.layers.deserialize(keras.layers.serialize(layer))
        self.assertEqual((again.layers[0], again.norm), (scale, scale))
        self.assertEqual(again.norm.inner.factor, 4)

    def test_equal_arguments_make_equal_objects(self):
        self.assertEqual(Scale(3.0), Scale(factor=3.0))
        self.assertLen({Scale(3.0), Scale(3.0), Scale(4.0)}, 2)
        self.assertNotEqual(Scale(2.0), Forgetful(2.0))
        self.assertEqual(repr(Scale(ratios=[1, 2])), "Scale(factor=2.0, ratios=(1, 2), inner=None)")

    def test_arguments_are_checked_and_never_change(self):
        with self.assertRaisesRegex(ConfigError, "Scale.factor is -1; it must be a finite number above 0"):
            Scale(-1)
        scale = Scale()
        with self.assertRaisesRegex(AttributeError, "Scale.factor cannot be changed"):
            scale.factor = 3.0
        with self.assertRaisesRegex(ConfigError, "Forgetful has an argument 'factor' and no attribute"):
            Forgetful(1.0).get_config()


if __name__ == "__main__":
    tf.test.main()
