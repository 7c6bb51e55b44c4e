"""The cross entropy of classes that exclude one another, background among them."""

from __future__ import annotations

from collections.abc import Mapping

import gin
import tensorflow as tf

from tf_frozen.config.ranges import NonNegativeFloat
from tf_frozen.keras_flavor import keras
from tf_frozen.losses.class_loss import ClassLoss


@gin.configurable
@keras.utils.register_keras_serializable("tf_frozen")
class SoftmaxCrossEntropy(ClassLoss):
    """`weight` times the cross entropy of the softmax of the logits."""

    def __init__(self, weight: NonNegativeFloat = 1.0):
        self.weight = weight

    def __call__(self, logits: tf.Tensor, labels: tf.Tensor, targets: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Losses [batch, n]; see `ClassLoss`."""
        return self.weight * tf.nn.softmax_cross_entropy_with_logits(labels=labels, logits=logits)

    def probabilities(self, logits: tf.Tensor) -> tf.Tensor:
        """The softmax of logits [..., C]."""
        return tf.nn.softmax(logits)
