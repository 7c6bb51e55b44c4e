"""Box voting: replaces overlapping boxes of one object by their mean."""

from __future__ import annotations

import tensorflow as tf

from tf_frozen.geometry import boxes as box_ops

_PAIRS = 2**22  # of boxes compared at once: about 16 MB for each intermediate result


def vote(boxes: tf.Tensor, scores: tf.Tensor, classes: tf.Tensor, iou: float) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns for each box the score-weighted mean of the boxes of its class with IoU ≥ `iou`, and their summed score.

    `boxes` [B, n, 4], n > 0, and `scores` [B, n], not negative; the sums of scores are [B, n] too. A box without score
    or area stays as it is. Source: Gidaris and Komodakis 2015, arXiv 1505.01749, section 4. Time grows with n², memory
    does not: boxes are compared with all others in parts of four million pairs.
    """
    batch, count = tf.unstack(tf.shape(boxes)[:2])
    rows = tf.clip_by_value(_PAIRS // tf.maximum(batch * count, 1), 1, count)

    def vote_on(start: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        chosen = tf.minimum(tf.range(start, start + rows), count - 1)
        own, own_classes = (tf.gather(values, chosen, axis=1) for values in (boxes, classes))
        alike = (box_ops.iou(own, boxes) >= iou) & (own_classes[:, :, tf.newaxis] == classes[:, tf.newaxis])
        weights = tf.where(alike, scores[:, tf.newaxis], 0.0)
        total = tf.reduce_sum(weights, -1)
        voted = tf.math.divide_no_nan(weights @ boxes, total[..., tf.newaxis])
        return tf.where(total[..., tf.newaxis] > 0, voted, own), total

    signature = (tf.TensorSpec([None, None, 4], boxes.dtype), tf.TensorSpec([None, None], scores.dtype))
    voted, total = tf.map_fn(vote_on, tf.range(0, count, rows), fn_output_signature=signature, parallel_iterations=1)
    return _joined(voted, boxes), _joined(total, scores)


def _joined(parts: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    """Rows of `like` [B, n, ...] from parts [P, B, rows, ...], of which the last may have some too many."""
    by_image = tf.transpose(parts, [1, 0, *range(2, parts.shape.rank)])
    shape = tf.shape(by_image)
    rows = tf.reshape(by_image, tf.concat([shape[:1], [shape[1] * shape[2]], shape[3:]], 0))
    return tf.ensure_shape(rows[:, : tf.shape(like)[1]], like.shape)
