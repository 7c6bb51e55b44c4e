"""The Huber loss of box regression."""

from __future__ import annotations

import tensorflow as tf


def huber(error: tf.Tensor, delta: float = 1.0) -> tf.Tensor:
    """Elementwise 0.5 * error^2 where |error| <= delta, else delta * (|error| - 0.5 * delta).

    Divided by delta it is Faster R-CNN's smooth L1 loss with beta = delta.
    """
    size = tf.abs(error)
    quadratic = tf.minimum(size, delta)
    return quadratic * (size - 0.5 * quadratic)
