import math

import tensorflow as tf

from tf_frozen.losses.sigmoid_cross_entropy import SigmoidCrossEntropy


class SigmoidCrossEntropyTest(tf.test.TestCase):
    def test_by_hand(self):
        """Probabilities of 1/2 and 3/4; the second anchor is background."""
        logits, labels = tf.constant([[[0.0, math.log(3)]] * 2]), tf.constant([[[0.0, 1.0], [0.0, 0.0]]])
        expected = [[2 * (math.log(2) + math.log(4 / 3)), 2 * (math.log(2) + math.log(4))]]
        self.assertAllClose(SigmoidCrossEntropy(2.0)(logits, labels, {}), expected)
        self.assertAllClose(SigmoidCrossEntropy().probabilities(logits), [[[0.5, 0.75]] * 2])


if __name__ == "__main__":
    tf.test.main()
