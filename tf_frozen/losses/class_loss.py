"""Base class of class losses, the argument `class_loss` of heads."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from tf_frozen.config.serializable import Serializable


class ClassLoss(Serializable):
    """The loss of class logits; a subclass computes it, and heads reduce it.

    One file, `@gin.configurable` on the class and a binding such as `DenseHead.class_loss = @MyLoss()` make a new one.
    """

    def __call__(self, logits: tf.Tensor, labels: tf.Tensor, targets: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Losses [batch, n], float32, of logits and labels [batch, n, C] of n anchors or RoIs.

        Labels are 1 for the class to learn, else 0. A `DenseHead` has C = num_classes, class k at k − 1, and labels of
        zeros for background; a `BoxCascade` has C = num_classes + 1, background at 0; a `RegionProposal` has C = 1.
        `targets` are the batch's: boxes [batch, N, 4], classes [batch, N] (0 is padding), and what else the data has.
        """
        raise NotImplementedError

    def probabilities(self, logits: tf.Tensor) -> tf.Tensor:
        """The scores of a box head's logits [..., C] that this loss trains; `DenseHead` always takes the sigmoid."""
        return tf.sigmoid(logits)
