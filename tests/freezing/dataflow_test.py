import tensorflow as tf

from tf_frozen.freezing.dataflow import sourced_ops
from tf_frozen.keras_flavor import keras

DATA, A, B = (frozenset([name]) for name in ("data", "a", "b"))


class DataflowTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.a, self.b, self.other = (tf.Variable(tf.ones([2, 2]) * k) for k in (1.0, 2.0, 3.0))

    def sources(self, function, kind="MatMul", **options):
        """The sources of the inputs of each op of a kind in the trace of `function`."""
        traced = tf.function(function, **options).get_concrete_function(tf.TensorSpec([2, 2]))
        ops = sourced_ops(traced, {"a": [self.a], "b": [self.b]})
        return [sources for op, sources in ops if op.type == kind]

    def test_through_the_graph(self):
        def function(x):
            y = tf.matmul(x, tf.transpose(tf.cast(self.a, tf.float32)) + 1.0)
            return tf.matmul(y, self.other * self.b)

        self.assertEqual(self.sources(function), [[DATA, A], [DATA | A, B | {"other"}]])

    def test_through_functions_and_branches(self):
        @tf.function(jit_compile=True)
        def inner(x, weight):
            return tf.matmul(x, weight)

        def function(x):
            y = inner(x, self.a)
            return tf.cond(tf.reduce_sum(y) > 0, lambda: tf.matmul(y, self.b), lambda: tf.identity(self.b))

        self.assertEqual(self.sources(function), [[DATA, A], [DATA | A, B]])

    def test_a_loop_carries_sources_from_turn_to_turn(self):
        def function(x):
            first, second = x, tf.zeros([2, 2])
            for _ in tf.range(3):
                # What comes out of `first` needs two turns to reach the product.
                first, second = tf.matmul(second, self.b), first @ self.a
            return first

        found = self.sources(function)
        self.assertLen(found, 2)
        self.assertIn([DATA | A | B, B], found)

    def test_through_the_train_step_of_fit_in_a_loop_with_xla(self):
        layer = keras.layers.Dense(2, use_bias=False)
        model = keras.Sequential([layer, keras.layers.Dense(1, use_bias=False)])
        data = tf.data.Dataset.from_tensors((tf.ones([4, 2]), tf.ones([4, 1]))).repeat()
        model.compile("sgd", "mse", jit_compile=True, steps_per_execution=2)
        model.fit(data, steps_per_epoch=2, verbose=0)
        step = model.train_function.get_concrete_function(iter(data))
        found = [sources for op, sources in sourced_ops(step, {"a": [layer.kernel]}) if op.type == "MatMul"]
        # Forward twice, then the gradients of both kernels and of what lies between them.
        self.assertLen(found, 5)
        self.assertEqual(found[0][1], A)
        self.assertIn("other", found[1][1])


if __name__ == "__main__":
    tf.test.main()
