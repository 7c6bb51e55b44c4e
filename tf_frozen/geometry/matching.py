"""Matches anchors and proposals with the boxes that they should predict."""

from __future__ import annotations

import tensorflow as tf

from tf_frozen.geometry import boxes as box_ops

POSITIVE, NEGATIVE, IGNORE = 1, 0, -1
CHUNK = 128  # boxes whose overlaps are in memory at a time; images of COCO have fewer

Matches = tuple[tf.Tensor, tf.Tensor, tf.Tensor]
"""Of every row its largest overlap, the box of it, and the first box that claims the row or −1; each [..., n]."""


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
    return _labelled(_matches(iou, valid), positive, negative, force_match)


def match_boxes(
    rows: tf.Tensor, boxes: tf.Tensor, valid: tf.Tensor, positive: float, negative: float, force_match: bool = False
) -> tuple[tf.Tensor, tf.Tensor]:
    """Applies `match` to the overlaps of rows [B or 1, n, 4] with boxes [B, m, 4], valid [B, m].

    Only CHUNK boxes at a time are compared with the rows, so that memory does not grow with m.
    """
    rows, boxes = tf.stop_gradient(rows), tf.stop_gradient(boxes)
    if boxes.shape[1] is not None and boxes.shape[1] <= CHUNK:
        return match(box_ops.iou(rows, boxes), valid, positive, negative, force_match)
    batch, count = tf.unstack(tf.shape(boxes)[:2])
    chunks = (count + CHUNK - 1) // CHUNK
    padding = chunks * CHUNK - count
    boxes = tf.reshape(tf.pad(boxes, [[0, 0], [0, padding], [0, 0]]), [batch, chunks, CHUNK, 4])
    valid = tf.reshape(tf.pad(valid, [[0, 0], [0, padding]]), [batch, chunks, CHUNK])

    def add(known: Matches, number: tf.Tensor) -> Matches:
        best, index, claim = _matches(box_ops.iou(rows, boxes[:, number]), valid[:, number])
        first = number * CHUNK
        better = best > known[0]
        return (
            tf.where(better, best, known[0]),
            tf.where(better, first + index, known[1]),
            tf.where((known[2] < 0) & (claim >= 0), first + claim, known[2]),
        )

    shape = [batch, tf.shape(rows)[1]]
    nothing = tf.fill(shape, tf.constant(-1.0, rows.dtype)), tf.zeros(shape, tf.int32), tf.fill(shape, -1)
    found = tf.foldl(add, tf.range(chunks), nothing, parallel_iterations=1)
    return _labelled(found, positive, negative, force_match)


def _matches(iou: tf.Tensor, valid: tf.Tensor) -> Matches:
    iou = tf.where(valid[..., tf.newaxis, :], iou, tf.constant(-1.0, iou.dtype))
    best_row = tf.argmax(iou, axis=-2, output_type=tf.int32)[..., tf.newaxis, :]
    claims = (tf.range(tf.shape(iou)[-2])[:, tf.newaxis] == best_row) & (iou > 0.0)
    claim = tf.argmax(tf.cast(claims, iou.dtype), axis=-1, output_type=tf.int32)
    claim = tf.where(tf.reduce_any(claims, axis=-1), claim, -1)
    return tf.reduce_max(iou, axis=-1), tf.argmax(iou, axis=-1, output_type=tf.int32), claim


def _labelled(matches: Matches, positive: float, negative: float, force_match: bool) -> tuple[tf.Tensor, tf.Tensor]:
    best, index, claim = matches
    label = tf.where(best >= positive, POSITIVE, tf.where(best < negative, NEGATIVE, IGNORE))
    if not force_match:
        return index, label
    return tf.where(claim >= 0, claim, index), tf.where(claim >= 0, POSITIVE, label)


def _pad_last(values: tf.Tensor, fill: float | bool) -> tf.Tensor:
    """The tensor with one more entry, `fill`, at the end of its last axis."""
    return tf.concat([values, tf.fill(tf.concat([tf.shape(values)[:-1], [1]], axis=0), fill)], axis=-1)
