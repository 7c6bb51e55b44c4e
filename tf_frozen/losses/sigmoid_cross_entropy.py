"""The cross entropy of classes that do not exclude one another."""

from __future__ import annotations

from collections.abc import Mapping

import gin
import tensorflow as tf

from tf_frozen.config.ranges import NonNegativeFloat
from tf_frozen.keras_flavor import keras
from tf_frozen.losses.class_loss import ClassLoss


@gin.configurable
@keras.utils.register_keras_serializable("tf_frozen")
class SigmoidCrossEntropy(ClassLoss):
    """`weight` times the cross entropy of the sigmoids of the logits, summed over the classes."""

    def __init__(self, weight: NonNegativeFloat = 1.0):
        self.weight = weight

    def __call__(self, logits: tf.Tensor, labels: tf.Tensor, targets: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Losses [batch, n]; see `ClassLoss`."""
        return self.weight * tf.reduce_sum(tf.nn.sigmoid_cross_entropy_with_logits(labels=labels, logits=logits), -1)
