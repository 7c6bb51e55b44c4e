"""Resampling of an image into a frame, at any scale and place."""

from __future__ import annotations

import tensorflow as tf

# The ImageNet mean colour (RGB): what backbones see as zero once their preprocessing has subtracted the mean,
# so the border of the padding is no edge for them. Whole numbers keep subtracting and adding it exact.
PADDING = (124.0, 116.0, 104.0)


def place(image: tf.Tensor, frame: tuple[int, int], scales: tf.Tensor, shift: tf.Tensor) -> tf.Tensor:
    """The frame, float32 [H, W, 3], into which an image [h, w, 3] is scaled by `scales` [2], then moved by `shift` [2].

    Bilinear, with antialiasing when it shrinks; pixel centres lie at half pixels, so that a box times the scales plus
    the shift is that box in the frame. What the image does not cover has the colour PADDING.
    """
    padding = tf.constant(PADDING)
    # tf.image.resize would round the size of each axis and so scale them unequally. This op takes the scale
    # itself, and gives 0 (the padding, as the mean is subtracted) beyond the image.
    framed = tf.raw_ops.ScaleAndTranslate(
        images=(tf.cast(image, tf.float32) - padding)[tf.newaxis],
        size=frame,
        scale=scales,
        translation=shift,
        kernel_type="triangle",
    )[0]
    return tf.ensure_shape(framed, (*frame, 3)) + padding


def window(image: tf.Tensor, frame: tuple[int, int], scale: tf.Tensor, start: tf.Tensor) -> tf.Tensor:
    """What a frame shows of the image times `scale` from the pixel `start` [2] of the scaled image on.

    As `place` with a shift of −start, but only the part of the image that the frame shows is worked on.
    """
    reach = 2.0 + 1.0 / scale  # beyond the kernel, which is two pixels wide and as many times wider as it shrinks
    near = tf.math.floor(start / scale - reach)
    far = tf.math.ceil((start + tf.constant(frame, tf.float32)) / scale + reach)
    limit = tf.shape(image)[:2]
    near, far = (tf.clip_by_value(tf.cast(edge, tf.int32), 0, limit) for edge in (near, far))
    part = image[near[0] : far[0], near[1] : far[1]]
    return place(part, frame, tf.stack([scale, scale]), tf.cast(near, tf.float32) * scale - start)
