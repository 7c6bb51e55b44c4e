"""The focal loss of dense detectors (Lin et al. 2017, equation 5)."""

from __future__ import annotations

import tensorflow as tf


def sigmoid_focal(logits: tf.Tensor, labels: tf.Tensor, alpha: float = 0.25, gamma: float = 1.5) -> tf.Tensor:
    """Elementwise -alpha_t * (1 - p_t)^gamma * log(p_t) of p = sigmoid(logits), for labels in {0, 1}.

    `labels` have the logits' shape. Finite, with finite gradients, for logits of any size.
    """
    labels = tf.cast(labels, logits.dtype)
    # log(1 - p_t) = -softplus((2 * label - 1) * logit): as a logarithm it needs no power of a rounded 0.
    log_miss = -tf.nn.softplus((2.0 * labels - 1.0) * logits)
    cross_entropy = tf.nn.sigmoid_cross_entropy_with_logits(labels=labels, logits=logits)
    balance = labels * alpha + (1.0 - labels) * (1.0 - alpha)
    return balance * tf.exp(gamma * log_miss) * cross_entropy
