import math

import tensorflow as tf

from tf_frozen.losses.softmax_cross_entropy import SoftmaxCrossEntropy


class SoftmaxCrossEntropyTest(tf.test.TestCase):
    def test_by_hand(self):
        logits, labels = tf.constant([[[0.0, math.log(2), 0.0]] * 2]), tf.one_hot([[1, 2]], 3)
        self.assertAllClose(SoftmaxCrossEntropy(3.0)(logits, labels, {}), [[3 * math.log(2), 3 * math.log(4)]])
        self.assertAllClose(SoftmaxCrossEntropy().probabilities(logits), [[[0.25, 0.5, 0.25]] * 2])


if __name__ == "__main__":
    tf.test.main()
