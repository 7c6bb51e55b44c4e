"""Masks relative to a box (He et al. 2017, arXiv 1703.06870, section 3): small whatever the size of the image."""

from __future__ import annotations

import tensorflow as tf

from tf_frozen.geometry.boxes import MIN_SIDE


def crop(masks: tf.Tensor, boxes: tf.Tensor, targets: tf.Tensor, size: int) -> tf.Tensor:
    """Resamples masks [..., S, S], which fill boxes [..., 4], to the boxes `targets` [..., 4]: [..., size, size].

    Boxes are [y1, x1, y2, x2] in any unit. Masks are read bilinearly, their values at the centres of their cells, and
    are 0 outside of their box. A target without area gives the value at its place. Returns float32.
    """
    side = masks.shape[-1]
    start, cell = boxes[..., :2], tf.maximum((boxes[..., 2:] - boxes[..., :2]) / side, MIN_SIDE / side)
    fraction = (tf.range(size, dtype=tf.float32) + 0.5) / size
    near, far = ((edge - start) / cell for edge in (targets[..., :2], targets[..., 2:]))
    places = near[..., tf.newaxis] + (far - near)[..., tf.newaxis] * fraction
    rows, columns = tf.unstack(_tents(places, side), axis=-3)
    return tf.matmul(tf.matmul(rows, tf.cast(masks, tf.float32)), columns, transpose_b=True)


def paste(mask: tf.Tensor, box: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    """The pixels, bool [H, W] = `size`, that a mask [S, S] of a box [4], pixels, makes likelier object than not.

    As `crop` reads masks; only the box's own pixels are worked on.
    """
    side, limit = mask.shape[-1], tf.constant(size, tf.int32)
    near = tf.clip_by_value(tf.cast(tf.floor(box[:2]), tf.int32), 0, limit)
    far = tf.clip_by_value(tf.cast(tf.math.ceil(box[2:]), tf.int32), near, limit)
    cell = tf.maximum((box[2:] - box[:2]) / side, MIN_SIDE / side)
    rows, columns = (
        _tents((tf.cast(tf.range(near[axis], far[axis]), tf.float32) + 0.5 - box[axis]) / cell[axis], side)
        for axis in (0, 1)
    )
    shown = tf.matmul(tf.matmul(rows, tf.cast(mask, tf.float32)), columns, transpose_b=True) > 0.5
    return tf.ensure_shape(tf.pad(shown, tf.stack([near, limit - far], axis=-1)), size)


def flip(masks: tf.Tensor, flip_y: bool | tf.Tensor, flip_x: bool | tf.Tensor) -> tf.Tensor:
    """Masks [..., S, S] once their image is flipped along the axes named."""
    masks = tf.where(flip_y, tf.reverse(masks, [-2]), masks)
    return tf.where(flip_x, tf.reverse(masks, [-1]), masks)


def _tents(places: tf.Tensor, cells: int) -> tf.Tensor:
    """Returns the weight of each cell at places [..., n], counted in cells from the edge: [..., n, cells]."""
    return tf.nn.relu(1.0 - tf.abs(places[..., tf.newaxis] - 0.5 - tf.range(cells, dtype=tf.float32)))
