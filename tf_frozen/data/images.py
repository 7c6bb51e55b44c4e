"""Image files to RGB pixels, turned as their EXIF tag asks; alpha is dropped, grey fills three channels."""

from __future__ import annotations

import os
import re

import numpy as np
import tensorflow as tf
from PIL import Image

from tf_frozen.data import image_header
from tf_frozen.data.exif import orientation_of_block


@tf.function(
    autograph=False,
    input_signature=[tf.TensorSpec([], tf.string), tf.TensorSpec([], tf.int32), tf.TensorSpec([], tf.string)],
)
def decode(contents: tf.Tensor, orientation: tf.Tensor, where: tf.Tensor = "") -> tf.Tensor:
    """Returns uint8 [h, w, 3] from JPEG, PNG, GIF (first frame), BMP or WebP bytes, as a viewer shows it.

    `orientation` is the EXIF tag, int32 1..8. Raises tf.errors.InvalidArgumentError if the bytes are no whole image,
    or one that `image_header.checked` refuses; of these the message, which `reason` finds, begins with `where`.
    """
    contents, size = image_header.checked(contents, where)
    # Asked for three channels, TensorFlow refuses a WebP with alpha and drops the alpha of all other formats.
    is_webp = tf.strings.substr(contents, 0, 4) == b"RIFF"
    image = tf.cond(is_webp, lambda: _decode(contents, 0)[..., :3], lambda: _decode(contents, 3))
    image.set_shape([None, None, 3])
    return tf.cond(orientation > 1, lambda: _turn(image, orientation), lambda: image)


def read(path: str) -> np.ndarray:
    """Returns uint8 [h, w, 3], the pixels that `decode` gives; raises OSError or tf.errors.OpError."""
    with Image.open(path) as image:
        orientation = exif_orientation(image)
    with tf.device("CPU:0"):
        return decode(tf.io.read_file(os.fsencode(path)), orientation).numpy()


def reason(error: tf.errors.OpError) -> str | None:
    """Returns why `decode` refused an image, without what TensorFlow adds; None where a decoder failed."""
    found = re.search(r"assertion failed: \[(.*)\]$", error.message, re.MULTILINE)
    return found and found[1]


def exif_orientation(image: Image.Image) -> int:
    """Returns the EXIF orientation 1..8 of an opened image; 1 where there is none that is valid."""
    return int(orientation_of_block(image.info.get("exif", b"")))


def _decode(contents: tf.Tensor, channels: int) -> tf.Tensor:
    return tf.io.decode_image(contents, channels=channels, expand_animations=False)


def _turn(image: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Returns the image as orientation 2..8 asks: 5 to 8 swap the axes, then either axis may be mirrored."""
    image = tf.cond(orientation >= 5, lambda: tf.transpose(image, [1, 0, 2]), lambda: image)
    upside_down = tf.reduce_any(orientation == [3, 4, 7, 8])
    mirrored = tf.reduce_any(orientation == [2, 3, 6, 7])
    return tf.raw_ops.Reverse(tensor=image, dims=tf.stack([upside_down, mirrored, False]))
