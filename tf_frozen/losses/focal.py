"""The focal loss of dense detectors (Lin et al. 2017, equation 5)."""

from __future__ import annotations

from collections.abc import Mapping

import gin
import tensorflow as tf

from tf_frozen.config.ranges import Fraction, NonNegativeFloat
from tf_frozen.keras_flavor import keras
from tf_frozen.losses.class_loss import ClassLoss


@gin.configurable
@keras.utils.register_keras_serializable("tf_frozen")
class Focal(ClassLoss):
    """−alpha_t · (1 − p_t)^gamma · log(p_t) of p = sigmoid(logits), summed over the classes; labels are 0 or 1.

    Finite, with finite gradients, for logits of any size.
    """

    def __init__(self, alpha: Fraction = 0.25, gamma: NonNegativeFloat = 1.5):
        self.alpha, self.gamma = alpha, gamma

    def __call__(self, logits: tf.Tensor, labels: tf.Tensor, targets: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Losses [batch, n]; see `ClassLoss`."""
        return tf.reduce_sum(self.elementwise(logits, labels), -1)

    def elementwise(self, logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """The loss of every logit, in the logits' shape."""
        labels = tf.cast(labels, logits.dtype)
        # log(1 - p_t) = -softplus((2 * label - 1) * logit): as a logarithm it needs no power of a rounded 0.
        log_miss = -tf.nn.softplus((2.0 * labels - 1.0) * logits)
        cross_entropy = tf.nn.sigmoid_cross_entropy_with_logits(labels=labels, logits=logits)
        balance = labels * self.alpha + (1.0 - labels) * (1.0 - self.alpha)
        return balance * tf.exp(self.gamma * log_miss) * cross_entropy
