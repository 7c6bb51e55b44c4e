"""Resamples an image into a frame, at any scale and place."""

from __future__ import annotations

import functools

import tensorflow as tf

# The ImageNet mean colour (RGB): what backbones see as zero once their preprocessing has subtracted the mean,
# so the border of the padding is not an edge to them.
PADDING = (124.0, 116.0, 104.0)


def place(image: tf.Tensor, frame: tuple[int, int], scales: tf.Tensor, shift: tf.Tensor) -> tf.Tensor:
    """The frame, float32 [H, W, 3], into which an image [h, w, 3] is scaled by `scales` [2], then moved by `shift` [2].

    Bilinear, with antialiasing when it shrinks; pixel centres lie at half pixels, so that a box times the scales plus
    the shift is that box in the frame. What the image does not cover has the colour PADDING. A side that would be
    shorter than a pixel of the frame is drawn one pixel long: without the centre of a pixel it would not be seen.
    """
    size = tf.shape(image)[:2]
    scales = tf.maximum(scales, 1.0 / tf.cast(tf.maximum(size, 1), tf.float32))
    # tf.image.resize would round the size of each axis and so scale them unequally. This op takes the scale itself. It
    # takes uint8 too: a large photograph as float32 would be four times as much memory.
    resample = functools.partial(tf.raw_ops.ScaleAndTranslate, kernel_type="triangle")
    framed = resample(images=image[tf.newaxis], size=frame, scale=scales, translation=shift)[0]
    # The op gives 0 outside the image; applied to a row and a column of ones, it shows where that is.
    rows = resample(
        images=tf.ones([1, size[0], 1, 1]), size=(frame[0], 1), scale=[scales[0], 1.0], translation=[shift[0], 0.0]
    )
    columns = resample(
        images=tf.ones([1, 1, size[1], 1]), size=(1, frame[1]), scale=[1.0, scales[1]], translation=[0.0, shift[1]]
    )
    covered = (rows > 0.5) & (columns > 0.5)
    return tf.ensure_shape(tf.where(covered[0], framed, PADDING), (*frame, 3))


def window(image: tf.Tensor, frame: tuple[int, int], scale: tf.Tensor, start: tf.Tensor) -> tf.Tensor:
    """Resamples the image, scaled by `scale`, into a frame that starts at pixel `start` [2] of the scaled image.

    As `place` with a shift of −start, but only the part of the image that the frame shows is worked on.
    """
    reach = 2.0 + 1.0 / scale  # beyond the kernel, which is two pixels wide and as many times wider as it shrinks
    near = tf.math.floor(start / scale - reach)
    far = tf.math.ceil((start + tf.constant(frame, tf.float32)) / scale + reach)
    limit = tf.shape(image)[:2]
    near, far = (tf.clip_by_value(tf.cast(edge, tf.int32), 0, limit) for edge in (near, far))
    part = image[near[0] : far[0], near[1] : far[1]]
    return place(part, frame, tf.stack([scale, scale]), tf.cast(near, tf.float32) * scale - start)
