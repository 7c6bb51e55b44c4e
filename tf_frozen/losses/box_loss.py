"""Base class of box losses, the argument `box_loss` of heads."""

from __future__ import annotations

import tensorflow as tf

from tf_frozen.config.serializable import Serializable


class BoxLoss(Serializable):
    """The loss of box regression; a subclass computes it, and heads reduce it over the positive anchors or RoIs."""

    def __call__(self, deltas: tf.Tensor, true_deltas: tf.Tensor) -> tf.Tensor:
        """Losses [batch, n], float32, of predicted and true deltas [batch, n, 4], those of `geometry.boxes.encode`."""
        raise NotImplementedError
