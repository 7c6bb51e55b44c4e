"""Fits an image of any size into the network's input frame, the same way in evaluation and in an export."""

import tensorflow as tf

from tf_frozen.geometry.resample import place


def fit(image: tf.Tensor, frame: tuple[int, int]) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Scales an image to touch the frame, keeping its aspect, and pads at the bottom or on the right.

    Bilinear, with antialiasing when it shrinks. Both axes use one and the same scale, and pixel centres lie
    at half pixels, so a box of the original times `scale` is that box in the frame, with no rounding.

    Args:
      image: [h, w, 3] uint8 or float32, values 0..255.
      frame: height and width of the frame in pixels.

    Returns:
      The frame, float32 [H, W, 3]; height and width of the image within it, float32 [2], which may end
      within a pixel; frame pixels per original pixel, float32 scalar.
    """
    size = tf.cast(tf.shape(image)[:2], tf.float32)
    scale = tf.reduce_min(tf.constant(frame, tf.float32) / size)
    image_size = tf.minimum(size * scale, tf.constant(frame, tf.float32))  # the product may round up, beyond the frame
    return place(image, frame, tf.stack([scale, scale]), tf.zeros([2])), image_size, scale
