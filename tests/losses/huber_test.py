"""Huber losses worked out by hand and against Keras's, which Model Garden's box losses use."""

import tensorflow as tf

from tf_frozen.keras_flavor import keras
from tf_frozen.losses.huber import Huber


def huber(error, delta):
    """Of boxes whose four coordinates are off by as much."""
    return Huber(delta)(tf.repeat(error[..., tf.newaxis], 4, -1), 0.0)


class HuberTest(tf.test.TestCase):
    def test_by_hand(self):
        error = tf.constant([-3.0, -1.0, 0.0, 0.5, 1.0, 2.0])
        self.assertAllClose(huber(error, 1.0), [2.5, 0.5, 0.0, 0.125, 0.5, 1.5])
        self.assertAllClose(huber(error, 0.1), [0.295, 0.095, 0.0, 0.045, 0.095, 0.195])

    def test_same_as_keras(self):
        error = tf.random.stateless_normal([50, 1], [1, 2])
        for delta in (1.0, 1 / 9):
            expected = keras.losses.Huber(delta, reduction="none")(tf.zeros_like(error), error)
            self.assertAllClose(huber(error, delta)[:, 0], expected, rtol=1e-6, atol=1e-7)

    def test_gradient_is_the_error_clipped(self):
        error = tf.constant([-3.0, -0.2, 0.0, 0.2, 100.0])
        with tf.GradientTape() as tape:
            tape.watch(error)
            loss = huber(error, 0.5)
        self.assertAllClose(tape.gradient(loss, error), [-0.5, -0.2, 0.0, 0.2, 0.5])


if __name__ == "__main__":
    tf.test.main()
