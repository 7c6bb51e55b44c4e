"""Area, overlap, clipping and coding of boxes [y1, x1, y2, x2] in pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import tensorflow as tf

# A predicted box is at most 1000/16 times its anchor, so that exp() of an untrained output stays finite.
MAX_LOG_SCALE = math.log(1000.0 / 16.0)
# Padding is a box of zeros; a side of at least this many pixels keeps its logarithm and quotient finite.
MIN_SIDE = 1e-3

Weights = Sequence[float]


def area(boxes: tf.Tensor) -> tf.Tensor:
    """Areas [...] in square pixels of boxes [..., 4]; 0 where the far edge is not beyond the near one."""
    y1, x1, y2, x2 = tf.unstack(boxes, axis=-1)
    return tf.nn.relu(y2 - y1) * tf.nn.relu(x2 - x1)


def iou(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """Intersection over union [..., n, m] of boxes a [..., n, 4] and b [..., m, 4]; 0 where one is empty."""
    a_y1, a_x1, a_y2, a_x2 = tf.split(a, 4, axis=-1)
    b_y1, b_x1, b_y2, b_x2 = tf.unstack(b[..., tf.newaxis, :, :], axis=-1)
    height = tf.nn.relu(tf.minimum(a_y2, b_y2) - tf.maximum(a_y1, b_y1))
    width = tf.nn.relu(tf.minimum(a_x2, b_x2) - tf.maximum(a_x1, b_x1))
    intersection = height * width
    union = area(a)[..., :, tf.newaxis] + area(b)[..., tf.newaxis, :] - intersection
    return tf.math.divide_no_nan(intersection, union)


def clip(boxes: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """Boxes [..., 4] cut to an image of (height, width) = size [..., 2] in pixels.

    A size of lower rank than the boxes lacks their inner axes: boxes [B, n, 4] go with size [B, 2] or [2].
    """
    size = tf.cast(size, boxes.dtype)
    while 1 < size.shape.rank < boxes.shape.rank:
        size = size[..., tf.newaxis, :]
    return tf.clip_by_value(boxes, tf.zeros([], boxes.dtype), tf.concat([size, size], axis=-1))


def at_least_one(boxes: tf.Tensor, marks: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Boxes [B, n, 4] and what belongs to them [B, n, …], with a row of zeros, which is padding, where n is 0.

    Kernels refuse to work on nothing: an arg max, a gather, a convolution. A graph need not know n.
    """
    if boxes.shape[1]:
        return boxes, marks
    missing = 1 if boxes.shape[1] == 0 else tf.cast(tf.shape(boxes)[1] == 0, tf.int32)
    boxes, marks = (tf.pad(x, [[0, 0], [0, missing], *[[0, 0]] * (x.shape.rank - 2)]) for x in (boxes, marks))
    return boxes, marks


def flip(boxes: tf.Tensor, size: tf.Tensor, flip_y: bool | tf.Tensor, flip_x: bool | tf.Tensor) -> tf.Tensor:
    """Boxes [..., n, 4] once their image, (height, width) = size [..., 2] pixels, is flipped along the axes named."""
    y1, x1, y2, x2 = tf.unstack(boxes, axis=-1)
    height, width = size[..., :1], size[..., 1:]
    y1, y2 = tf.where(flip_y, height - y2, y1), tf.where(flip_y, height - y1, y2)
    x1, x2 = tf.where(flip_x, width - x2, x1), tf.where(flip_x, width - x1, x2)
    return tf.stack([y1, x1, y2, x2], -1)


def swap_axes(boxes: tf.Tensor) -> tf.Tensor:
    """Boxes [..., 4] in the image whose rows become columns."""
    return tf.gather(boxes, [1, 0, 3, 2], axis=-1)


def encode(boxes: tf.Tensor, anchors: tf.Tensor, weights: Weights = (1.0, 1.0, 1.0, 1.0)) -> tf.Tensor:
    """Deltas [..., 4] = (ty, tx, th, tw) that turn the anchors [..., 4] into the boxes [..., 4].

    `weights` multiply (y, x, h, w); Faster R-CNN's second stage takes (10, 10, 5, 5). Always finite for
    finite input, also for boxes and anchors of no area.
    """
    center, side = _center_and_side(boxes)
    anchor_center, anchor_side = _center_and_side(anchors)
    side, anchor_side = tf.maximum(side, MIN_SIDE), tf.maximum(anchor_side, MIN_SIDE)
    deltas = tf.concat([(center - anchor_center) / anchor_side, tf.math.log(side / anchor_side)], axis=-1)
    return deltas * tf.constant(weights, deltas.dtype)


def decode(deltas: tf.Tensor, anchors: tf.Tensor, weights: Weights = (1.0, 1.0, 1.0, 1.0)) -> tf.Tensor:
    """Boxes [..., 4] from deltas [..., 4] and anchors [..., 4]: the inverse of `encode`.

    Growth is limited to 1000/16 times the anchor's side. The result has the anchors' dtype.
    """
    deltas = tf.cast(deltas, anchors.dtype) / tf.constant(weights, anchors.dtype)
    anchor_center, anchor_side = _center_and_side(anchors)
    center = deltas[..., :2] * anchor_side + anchor_center
    half = 0.5 * anchor_side * tf.exp(tf.minimum(deltas[..., 2:], MAX_LOG_SCALE))
    return tf.concat([center - half, center + half], axis=-1)


def _center_and_side(boxes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Centres (y, x) and sides (h, w), each [..., 2], of boxes [..., 4]."""
    near, far = boxes[..., :2], boxes[..., 2:]
    return 0.5 * (near + far), far - near
