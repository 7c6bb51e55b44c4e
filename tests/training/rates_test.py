import numpy as np
import tensorflow as tf

from tf_frozen.errors import ConfigError
from tf_frozen.keras_flavor import keras
from tf_frozen.training.rates import factors, scale_updates

OPTIMIZERS = {
    "SGD": lambda rate: keras.optimizers.SGD(rate, momentum=0.9, weight_decay=0.1),
    "AdamW": lambda rate: keras.optimizers.AdamW(rate, weight_decay=0.1, use_ema=True),
}


class RatesTest(tf.test.TestCase):
    def steps(self, optimizer, variable, graph):
        step = lambda: optimizer.apply_gradients([(tf.constant([1.0, -3.0]), variable)])  # noqa: E731
        step = tf.function(step) if graph else step
        for _ in range(4):
            step()
        return variable.numpy()

    def test_a_factor_is_the_learning_rate_times_it(self):
        for name, make in OPTIMIZERS.items():
            for graph in (False, True):
                with self.subTest(f"{name}, graph {graph}"):
                    slow, other, expected, plain = (tf.Variable([5.0, 2.0]) for _ in range(4))
                    optimizer = make(0.1)
                    optimizer.build([slow, other])
                    scale_updates(optimizer, [(slow, 0.2)])
                    found = self.steps(optimizer, slow, graph)
                    self.assertAllClose(found, self.steps(make(0.02), expected, graph), rtol=1e-5)
                    self.assertEqual(optimizer.weight_decay, 0.1)
                    optimizer = make(0.1)
                    optimizer.build([slow, other])
                    scale_updates(optimizer, [(slow, 0.2)])
                    found = self.steps(optimizer, other, graph)
                    np.testing.assert_array_equal(found, self.steps(make(0.1), plain, graph))

    def test_the_first_pattern_decides(self):
        paths = {"backbone/a": tf.Variable(1.0), "backbone/b": tf.Variable(2.0), "neck/a": tf.Variable(3.0)}
        found = factors([("backbone/a", 0.0), ("backbone/.*", 0.1)], paths)
        self.assertEqual({(float(variable), factor) for variable, factor in found}, {(1.0, 0.0), (2.0, 0.1)})
        self.assertEqual(factors([], paths), [])

    def test_what_is_wrong_is_named(self):
        paths = {"backbone/a": tf.Variable(1.0)}
        with self.assertRaisesRegex(ConfigError, "'backbon/.*' matches no variable"):
            factors([("backbon/.*", 0.1)], paths)


if __name__ == "__main__":
    tf.test.main()
