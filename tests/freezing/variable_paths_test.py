import tensorflow as tf

from tests.freezing import tiny
from tf_frozen.errors import FreezeError
from tf_frozen.freezing.variable_paths import layers_with_weights, parts, variable_paths
from tf_frozen.keras_flavor import keras


def functional(**names):
    x = keras.Input([3])
    y = keras.layers.Dense(2, **names)(keras.layers.Dense(4, name="given")(x))
    return keras.Model(x, y)


class Owner(keras.Model):
    def __init__(self, *layers):
        super().__init__()
        self.kept = list(layers)

    def call(self, x):
        for layer in self.kept:
            x = layer(x)
        return x


class VariablePathsTest(tf.test.TestCase):
    def test_a_detector_by_attributes_and_given_names(self):
        model = tiny.detector()
        paths = variable_paths(model)
        self.assertLen(paths, len(model.weights))
        self.assertIs(paths[tiny.STEM], model.backbone.network.get_layer("stem_conv").kernel)
        self.assertIs(paths["box_heads/heads/0/classes/bias"], model.box_heads.heads[0].classes.bias)
        self.assertEqual(list(parts(model)), ["backbone", "neck", "region_proposal", "box_heads"])

    def test_neither_what_the_process_built_before_nor_an_optimizer_changes_them(self):
        first = functional()
        before = list(variable_paths(first))
        first.compile(keras.optimizers.Adam(), "mse")
        first.fit(tf.ones([2, 3]), tf.ones([2, 2]), verbose=0)
        second = functional()
        self.assertNotEqual([w.name for w in first.weights], [w.name for w in second.weights])
        self.assertEqual(list(variable_paths(first)), before)
        self.assertEqual(list(variable_paths(second)), before)
        self.assertEqual(before[:2], ["given/kernel", "given/bias"])

    def test_names_with_slashes_and_of_attributes_stay_apart(self):
        model = functional(name="given/kernel")
        model.extra = keras.layers.Dense(1, name="extra")
        model.extra.build([2])
        paths = variable_paths(model)
        self.assertLen(paths, 6)
        self.assertIn("given.kernel/kernel", paths)

    def test_a_weight_that_nothing_leads_to_is_an_error_that_names_it(self):
        model = Owner()
        hidden = keras.layers.Dense(2, name="hidden")
        hidden.build([3])
        model.call = lambda x: hidden(x)
        model._trainable_weights.extend(hidden.weights)
        with self.assertRaisesRegex(FreezeError, "leads to 2 weights .kernel:0"):
            variable_paths(model)

    def test_each_weight_belongs_to_the_innermost_layer(self):
        model = Owner(functional(), keras.layers.Dense(1))
        model(tf.zeros([1, 3]))
        owned = layers_with_weights(model)
        self.assertEqual(
            {path: [w.shape.as_list() for w in weights] for path, (_, weights) in owned.items()},
            {
                "kept/0/given": [[3, 4], [4]],
                "kept/0/layer_with_weights-1": [[4, 2], [2]],
                "kept/1": [[2, 1], [1]],
            },
        )


if __name__ == "__main__":
    tf.test.main()
