import tensorflow as tf

from tf_frozen.graph_function import GraphFunction
from tf_frozen.keras_flavor import keras


def doubled(x):
    return 2 * x


def sign(x):
    if tf.reduce_sum(x) > 0:  # only AutoGraph can make a graph of this
        return tf.ones([])
    return -tf.ones([])


class Sign(keras.layers.Layer):
    def call(self, x):
        return sign(x) * x


class GraphFunctionTest(tf.test.TestCase):
    def test_is_not_converted_where_that_is_not_needed(self):
        converted = []

        def status(x):
            converted.append(tf.__internal__.autograph.control_status_ctx().status.name)
            return doubled(x)

        function = GraphFunction(status)
        self.assertAllEqual(function(tf.ones([2])), [2.0, 2.0])
        self.assertAllEqual(function(3 * tf.ones([2])), [6.0, 6.0])
        self.assertEqual(converted, ["DISABLED"])

    def test_is_converted_where_control_flow_depends_on_tensors(self):
        function = GraphFunction(sign, reduce_retracing=True)
        self.assertEqual([float(function(x)) for x in (tf.ones([2]), -tf.ones([2]), -tf.ones([3]))], [1, -1, -1])
        concrete = GraphFunction(Sign()).get_concrete_function(tf.TensorSpec([None]))
        self.assertAllEqual(concrete(tf.constant([-1.0, -2.0])), [1.0, 2.0])

    def test_another_error_is_raised(self):
        with self.assertRaisesRegex(ValueError, "must be equal"):
            GraphFunction(lambda x: x + tf.ones([3]))(tf.ones([2]))


if __name__ == "__main__":
    tf.test.main()
