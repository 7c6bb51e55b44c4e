"""Which box each anchor or proposal should learn to predict."""

from __future__ import annotations

import tensorflow as tf

POSITIVE, NEGATIVE, IGNORE = 1, 0, -1


def match(
    iou: tf.Tensor, valid: tf.Tensor, positive: float, negative: float, force_match: bool = False
) -> tuple[tf.Tensor, tf.Tensor]:
    """Best column and label of every row of an overlap matrix.

    `iou` [..., n, m] holds the overlap of n anchors with m boxes, `valid` [..., m] bool tells boxes from
    padding. Returns index [..., n] int32 into the m boxes (0 when none is valid) and label [..., n] int32: 1
    where the overlap is at least `positive`, 0 below `negative`, -1 (ignore) between. With `force_match` one
    row becomes positive for each valid box: the row that overlaps it most, of equal ones the first, however
    small the overlap, unless it is 0. A row that several boxes claim goes to the first of them. All as in
    Model Garden's BoxMatcher, except that there a box that overlaps no row claims row 0.
    """
    if not iou.shape[-1]:  # An arg max over no column is an error: give it one that never matches.
        iou, valid = _pad_last(iou, 0.0), _pad_last(valid, False)
    iou = tf.where(valid[..., tf.newaxis, :], iou, tf.constant(-1.0, iou.dtype))
    index = tf.argmax(iou, axis=-1, output_type=tf.int32)
    best = tf.reduce_max(iou, axis=-1)
    label = tf.where(best >= positive, POSITIVE, tf.where(best < negative, NEGATIVE, IGNORE))
    return _force(iou, index, label) if force_match else (index, label)


def _force(iou: tf.Tensor, index: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Index and label after each column has claimed its best row."""
    best_row = tf.argmax(iou, axis=-2, output_type=tf.int32)[..., tf.newaxis, :]
    claims = (tf.range(tf.shape(iou)[-2])[:, tf.newaxis] == best_row) & (iou > 0.0)
    forced = tf.reduce_any(claims, axis=-1)
    forced_index = tf.argmax(tf.cast(claims, iou.dtype), axis=-1, output_type=tf.int32)
    return tf.where(forced, forced_index, index), tf.where(forced, POSITIVE, label)


def _pad_last(values: tf.Tensor, fill: float | bool) -> tf.Tensor:
    """The tensor with one more entry, `fill`, at the end of its last axis."""
    return tf.concat([values, tf.fill(tf.concat([tf.shape(values)[:-1], [1]], axis=0), fill)], axis=-1)
