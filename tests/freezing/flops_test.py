import tensorflow as tf

from tf_frozen.backbones.efficientnet_lite import EfficientNetLite
from tf_frozen.freezing.flops import multiply_adds, step_multiply_adds
from tf_frozen.keras_flavor import keras


def count(layer, shape):
    layer.build(shape)
    function = tf.function(layer, autograph=False).get_concrete_function(tf.TensorSpec(shape))
    return multiply_adds(function, {"layer": layer.weights})


class MultiplyAddsTest(tf.test.TestCase):
    def test_layers_worked_out_by_hand(self):
        maps = [2, 8, 6, 4]
        conv = keras.layers.Conv2D(5, (3, 1), strides=2, padding="same")
        self.assertEqual(count(conv, maps), {"layer": 2 * 4 * 3 * 5 * (3 * 1 * 4), "other": 0})
        grouped = keras.layers.Conv2D(6, 3, padding="same", groups=2)
        self.assertEqual(count(grouped, maps)["layer"], 2 * 8 * 6 * 6 * (3 * 3 * 2))
        depthwise = keras.layers.DepthwiseConv2D(3, depth_multiplier=2)
        self.assertEqual(count(depthwise, maps)["layer"], 2 * 6 * 4 * 8 * (3 * 3))
        separable = keras.layers.SeparableConv2D(7, 3, padding="same")
        self.assertEqual(count(separable, maps)["layer"], 2 * 8 * 6 * (4 * 3 * 3 + 4 * 7))
        transposed = keras.layers.Conv2DTranspose(5, 3, strides=2, padding="same")
        self.assertEqual(count(transposed, maps)["layer"], 2 * 8 * 6 * 4 * (3 * 3 * 5))
        self.assertEqual(count(keras.layers.Dense(5), [2, 3, 4])["layer"], 2 * 3 * 4 * 5)
        einsum = keras.layers.EinsumDense("...ab,bc->...ac", output_shape=[3, 5])
        self.assertEqual(count(einsum, [2, 3, 4])["layer"], 2 * 3 * 4 * 5)

    def test_a_product_of_maps_has_no_owner(self):
        class Attention(keras.layers.Layer):
            def call(self, x):
                return tf.matmul(x, x, transpose_b=True) @ x

        self.assertEqual(count(Attention(), [2, 3, 4]), {"layer": 0, "other": 2 * (3 * 3 * 4) * 2})

    def test_efficientnet_lite0_as_tensorflows_profiler_counts_it(self):
        network = EfficientNetLite(levels=(5,)).network
        # tf.profiler: Conv2D 658610176 and DepthwiseConv2dNative 69064128 float ops, two to a multiply-add.
        counted = count(network, [1, 224, 224, 3])
        self.assertEqual(counted["layer"], (658610176 + 69064128) // 2)

    def test_unknown_shapes_are_refused_not_guessed(self):
        images = tf.TensorSpec([1, None, 8, 3])
        function = tf.function(keras.layers.Conv2D(4, 3)).get_concrete_function(images)
        with self.assertRaisesRegex(ValueError, "Conv2D.*shape is unknown"):
            multiply_adds(function, {})


class StepMultiplyAddsTest(tf.test.TestCase):
    def test_a_step_has_as_many_products_as_the_traced_one(self):
        """Four equal convolutions, so that every product, forward or backward, costs the same."""
        unit = 8 * 8 * 4 * (3 * 3 * 4)
        for trains in ((0, 1, 2, 3), (2, 3), (1, 3), (3,), (0,)):
            convs = [keras.layers.Conv2D(4, 3, padding="same") for _ in range(4)]
            network = keras.Sequential(convs)
            network.build([1, 8, 8, 4])
            for index, conv in enumerate(convs):
                conv.trainable = index in trains

            def step(x, network=network):
                with tf.GradientTape(watch_accessed_variables=False) as tape:
                    tape.watch(network.trainable_variables)
                    loss = tf.reduce_sum(network(x) ** 2)
                return tape.gradient(loss, network.trainable_variables)

            images = tf.TensorSpec([1, 8, 8, 4])
            graph = tf.function(step).get_concrete_function(images).graph
            products = sum(op.type.startswith("Conv2D") for op in _needed(graph.outputs))
            forward = tf.function(network).get_concrete_function(images)
            groups = {str(index): conv.weights for index, conv in enumerate(convs)}
            counted = step_multiply_adds(forward, groups, network.trainable_variables)
            self.assertEqual(sum(counted.values()), products * unit, trains)
            if trains == (2, 3):
                costs = {"0": 1, "1": 1, "2": 2, "3": 3, "other": 0}
                self.assertEqual(counted, {group: cost * unit for group, cost in costs.items()})

    def test_lanes_fill_up_the_channels_on_both_sides_of_each_product(self):
        layers = [keras.layers.Conv2D(6, (3, 1), padding="same"), keras.layers.DepthwiseConv2D(3, padding="same")]
        layers += [keras.layers.Conv2DTranspose(5, 2, padding="same"), keras.layers.Flatten(), keras.layers.Dense(3)]
        network = keras.Sequential(layers)
        network.build([1, 8, 8, 3])
        forward = tf.function(network).get_concrete_function(tf.TensorSpec([1, 8, 8, 3]))
        counted = step_multiply_adds(forward, {str(index): x.weights for index, x in enumerate(layers)}, [], lanes=4)
        pixels = 8 * 8
        # 3 → 4 and 6 → 8; 6 → 8; 6 → 8 and 5 → 8; 320 stays and 3 → 4.
        expected = {"0": pixels * 3 * 4 * 8, "1": pixels * 9 * 8, "2": pixels * 4 * 8 * 8, "4": 5 * pixels * 4}
        self.assertEqual({part: count for part, count in counted.items() if count}, expected)


def _needed(tensors):
    """The ops that outputs are computed from: TensorFlow traces gradients by the images too, and never runs them."""
    ops, waiting = set(), [tensor.op for tensor in tensors]
    while waiting:
        op = waiting.pop()
        if op not in ops:
            ops.add(op)
            waiting += [tensor.op for tensor in op.inputs]
    return ops


if __name__ == "__main__":
    tf.test.main()
