import keras as keras_3
import tensorflow as tf

from tf_frozen.errors import ConfigError
from tf_frozen.keras_flavor import keras
from tf_frozen.layers.configured import Configured, ConfiguredLayer


class Stack(ConfiguredLayer):
    def __init__(self, layers, sizes=(1, 2), norm=None, **kwargs):
        super().__init__(**kwargs)
        self.layers, self.sizes, self.norm = layers, sizes, norm


class Wrapped(Configured, keras.Model):
    def __init__(self, inner, factor=2.0, **kwargs):
        super().__init__(**kwargs)
        self.inner, self.factor = inner, factor


class ConfiguredLayerTest(tf.test.TestCase):
    def test_holds_the_arguments_and_what_keras_needs(self):
        config = Stack([], sizes=(3, (4, 5)), name="pile", trainable=False).get_config()
        expected = {"name": "pile", "trainable": False, "dtype": "float32"}
        self.assertEqual(config, {**expected, "layers": [], "sizes": [3, [4, 5]], "norm": None})

    def test_layers_among_the_arguments_come_back(self):
        norm = keras.layers.BatchNormalization(momentum=0.7)
        inner = Stack([keras.layers.Dense(3), keras.layers.ReLU(6.0)], norm=norm)
        again = Stack.from_config(Stack([inner]).get_config()).layers[0]
        self.assertEqual(again.norm.momentum, 0.7)
        self.assertEqual(again.layers[0].units, 3)
        self.assertEqual(again.layers[1].max_value, 6.0)

    def test_a_model_keeps_its_arguments_as_a_layer_does(self):
        again = Wrapped.from_config(Wrapped(keras.layers.Dense(3), name="around").get_config())
        self.assertEqual((again.name, again.inner.units, again.factor), ("around", 3, 2.0))

    def test_a_layer_of_keras_with_one_more_argument_comes_back(self):
        class Scaled(Configured, keras.layers.Conv2D):
            def __init__(self, gain=1.0, **kwargs):
                super().__init__(**kwargs)
                self.gain = gain

        layer = Scaled(2.0, filters=3, kernel_size=5, kernel_initializer="ones")
        again = Scaled.from_config(layer.get_config())
        self.assertEqual((again.gain, again.filters), (2.0, 3))
        self.assertEqual(again.get_config(), layer.get_config())

    def test_arguments_of_base_classes_are_kept_where_kwargs_go_there(self):
        class Pile(Stack):
            def __init__(self, height, **kwargs):
                super().__init__(**kwargs)
                self.height = height

        class Careless(Stack):
            def __init__(self, height, **kwargs):
                super().__init__(**kwargs)

        again = Pile.from_config(Pile(3, layers=[], sizes=(7,), name="pile").get_config())
        self.assertEqual((again.height, list(again.sizes), again.name), (3, [7], "pile"))
        with self.assertRaisesRegex(ConfigError, "Careless has an argument 'height' and no attribute of that name"):
            Careless(3, layers=[]).get_config()

    def test_a_layer_of_another_keras_is_refused_where_it_comes_in(self):
        foreign = keras_3.layers.BatchNormalization()
        for name, value in (("norm", foreign), ("layers", [keras.layers.ReLU(), foreign])):
            with self.assertRaisesRegex(ConfigError, rf"Stack.{name} is a BatchNormalization of another Keras"):
                Stack(**{"layers": [], name: value})
        with self.assertRaisesRegex(ConfigError, r"Wrapped.inner is a Dense .*keras_flavor import keras"):
            Wrapped(keras_3.layers.Dense(2))

    def test_a_tensor_of_another_keras_is_refused(self):
        for inputs in (keras_3.Input([4]), {3: keras_3.Input([4])}):
            with self.assertRaisesRegex(ConfigError, "the input of Stack is a KerasTensor of another Keras"):
                Stack([])(inputs)

    def setUp(self):
        super().setUp()
        scope = keras.utils.custom_object_scope({"Stack": Stack})
        scope.__enter__()
        self.addCleanup(scope.__exit__, None, None, None)


if __name__ == "__main__":
    tf.test.main()
