"""Image files to RGB pixels, turned as their EXIF tag asks; alpha is dropped, grey fills three channels."""

from __future__ import annotations

import struct

import numpy as np
import tensorflow as tf
from PIL import Image

_ORIENTATION_TAG = 0x0112


def decode(contents: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Returns uint8 [h, w, 3] from JPEG, PNG, GIF (first frame), BMP or WebP bytes, as a viewer shows it.

    `orientation` is the EXIF tag, int32 1..8. Raises tf.errors.InvalidArgumentError if the bytes are no whole
    image.
    """
    # Asked for three channels, TensorFlow refuses a WebP with alpha and drops the alpha of all other formats.
    is_webp = tf.strings.substr(contents, 8, 4) == b"WEBP"
    image = tf.cond(is_webp, lambda: _decode(contents, 0)[..., :3], lambda: _decode(contents, 3))
    image.set_shape([None, None, 3])
    orientation = tf.convert_to_tensor(orientation, tf.int32)
    return tf.cond(orientation > 1, lambda: _turn(image, orientation), lambda: image)


def read(path: str) -> np.ndarray:
    """Returns uint8 [h, w, 3], the pixels that `decode` gives; raises OSError or tf.errors.OpError."""
    with Image.open(path) as image:
        orientation = exif_orientation(image)
    with tf.device("CPU:0"):
        return decode(tf.io.read_file(path), orientation).numpy()


def exif_orientation(image: Image.Image) -> int:
    """Returns the EXIF orientation 1..8 of an opened image; 1 where there is none that makes sense."""
    if image.format == "PNG" and "exif" not in image.info:
        return 1  # getexif() would decode all pixels in search of a tag behind them
    try:
        value = image.getexif().get(_ORIENTATION_TAG)
    except (SyntaxError, ValueError, KeyError, OSError, struct.error):
        return 1  # a broken EXIF block; viewers ignore it too
    return value if value in range(2, 9) else 1


def _decode(contents: tf.Tensor, channels: int) -> tf.Tensor:
    return tf.io.decode_image(contents, channels=channels, expand_animations=False)


def _turn(image: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Returns the image as orientation 2..8 asks: 5 to 8 swap the axes, then either axis may be mirrored."""
    image = tf.cond(orientation >= 5, lambda: tf.transpose(image, [1, 0, 2]), lambda: image)
    upside_down = tf.reduce_any(orientation == [3, 4, 7, 8])
    mirrored = tf.reduce_any(orientation == [2, 3, 6, 7])
    return tf.raw_ops.Reverse(tensor=image, dims=tf.stack([upside_down, mirrored, False]))
