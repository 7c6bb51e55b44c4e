"""Fits an image of any size into the network's input frame, the same way in evaluation and in an export."""

import tensorflow as tf

# The ImageNet mean colour (RGB): what backbones see as zero once their preprocessing has subtracted the mean,
# so the border of the padding is no edge for them. Whole numbers keep subtracting and adding it exact.
PADDING = (124.0, 116.0, 104.0)


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
    padding = tf.constant(PADDING)
    image = tf.cast(image, tf.float32) - padding
    size = tf.cast(tf.shape(image)[:2], tf.float32)
    scale = tf.reduce_min(tf.constant(frame, tf.float32) / size)
    # tf.image.resize would round the size of each axis and so scale them unequally. This op takes the scale
    # itself, and gives 0 (the padding, as the mean is subtracted) beyond the image.
    fitted = tf.raw_ops.ScaleAndTranslate(
        images=image[None],
        size=frame,
        scale=tf.stack([scale, scale]),
        translation=[0.0, 0.0],
        kernel_type="triangle",
    )[0]
    return tf.ensure_shape(fitted, (*frame, 3)) + padding, size * scale, scale
