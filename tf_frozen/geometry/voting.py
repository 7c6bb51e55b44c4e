"""Box voting: many opinions on one object become one."""

from __future__ import annotations

import tensorflow as tf

from tf_frozen.geometry import boxes as box_ops


def vote(boxes: tf.Tensor, scores: tf.Tensor, classes: tf.Tensor, iou: float) -> tuple[tf.Tensor, tf.Tensor]:
    """For each box the mean, weighted by score, of those of its class that overlap it by `iou` or more, and their sum.

    `boxes` [B, n, 4] and `scores` [B, n], not negative; the sums of scores are [B, n] too. A box without score or
    area stays as it is. Source: Gidaris and Komodakis 2015, arXiv 1505.01749, section 4. Memory grows with n².
    """
    alike = (box_ops.iou(boxes, boxes) >= iou) & (classes[:, :, tf.newaxis] == classes[:, tf.newaxis])
    weights = tf.where(alike, scores[:, tf.newaxis], 0.0)
    total = tf.reduce_sum(weights, -1)
    voted = tf.math.divide_no_nan(weights @ boxes, total[..., tf.newaxis])
    return tf.where(total[..., tf.newaxis] > 0, voted, boxes), total
