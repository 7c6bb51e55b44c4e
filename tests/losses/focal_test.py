"""Focal losses worked out by hand, against Model Garden's, and at extreme logits."""

import math

import numpy as np
import tensorflow as tf
from official.vision.losses import focal_loss as model_garden

from tf_frozen.losses.focal import Focal


class SigmoidFocalTest(tf.test.TestCase):
    def test_by_hand(self):
        # p = 0.5 and 0.75: weights 0.25 * 0.5^2 and 0.75 * 0.75^2.
        logits, labels = tf.constant([0.0, math.log(3)]), tf.constant([1, 0])
        expected = [0.25 * 0.25 * math.log(2), 0.75 * 0.5625 * math.log(4)]
        self.assertAllClose(Focal(0.25, 2.0).elementwise(logits, labels), expected)

    def test_same_as_model_garden(self):
        rng = np.random.default_rng(0)
        logits = tf.constant(rng.normal(size=[4, 50, 7]) * 4, tf.float32)
        labels = tf.constant(rng.integers(0, 2, [4, 50, 7]), tf.float32)
        theirs = model_garden.FocalLoss(alpha=0.25, gamma=1.5, reduction="none")(labels, logits)
        self.assertAllClose(Focal(0.25, 1.5)(logits, labels, {}), tf.reduce_sum(theirs, -1), rtol=1e-4)

    def test_without_focus_it_is_cross_entropy(self):
        logits, labels = tf.constant([-2.0, 0.3, 5.0]), tf.constant([1.0, 0.0, 1.0])
        entropy = tf.nn.sigmoid_cross_entropy_with_logits(labels=labels, logits=logits)
        self.assertAllClose(2.0 * Focal(0.5, 0.0).elementwise(logits, labels), entropy)

    def test_extreme_logits_are_finite(self):
        logits = tf.constant([-1e4, -100.0, 0.0, 100.0, 1e4])
        for label in (0.0, 1.0):
            for gamma in (0.5, 2.0):
                with tf.GradientTape() as tape:
                    tape.watch(logits)
                    loss = Focal(0.25, gamma).elementwise(logits, tf.fill([5], label))
                self.assertAllInRange(loss, 0.0, 1e4)
                self.assertAllInRange(tape.gradient(loss, logits), -1.0, 1.0)


if __name__ == "__main__":
    tf.test.main()
