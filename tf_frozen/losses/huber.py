"""The Huber loss of box regression."""

from __future__ import annotations

import gin
import tensorflow as tf

from tf_frozen.config.ranges import NonNegativeFloat, PositiveFloat
from tf_frozen.keras_flavor import keras
from tf_frozen.losses.box_loss import BoxLoss


@gin.configurable
@keras.utils.register_keras_serializable("tf_frozen")
class Huber(BoxLoss):
    """`weight` times the mean over the coordinates of ½·error² where |error| ≤ delta, else delta·(|error| − ½·delta).

    Divided by delta it is Faster R-CNN's smooth L1 loss with beta = delta.
    """

    def __init__(self, delta: PositiveFloat = 1.0, weight: NonNegativeFloat = 1.0):
        self.delta, self.weight = delta, weight

    def __call__(self, deltas: tf.Tensor, true_deltas: tf.Tensor) -> tf.Tensor:
        """Losses [batch, n]; see `BoxLoss`."""
        size = tf.abs(deltas - true_deltas)
        quadratic = tf.minimum(size, self.delta)
        return self.weight * tf.reduce_mean(quadratic * (size - 0.5 * quadratic), -1)
