"""Decodes image files to RGB pixels, turned by their EXIF tag; drops alpha, repeats grey in three channels."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from PIL import Image

from tf_frozen.data import image_header
from tf_frozen.data.exif import orientation_of_block

_DAMAGED = "the image cannot be decoded; its file is damaged or cut off"
_ARGUMENTS = [tf.TensorSpec([], tf.string), tf.TensorSpec([], tf.int32), tf.TensorSpec([], tf.string)]


@tf.function(autograph=False, input_signature=_ARGUMENTS)
def decode(contents: tf.Tensor, orientation: tf.Tensor, where: tf.Tensor = "") -> tf.Tensor:
    """Returns uint8 [h, w, 3] from JPEG, PNG, GIF (first frame), BMP or WebP bytes, as a viewer shows it.

    `orientation` is the EXIF tag, int32 1..8. Raises tf.errors.InvalidArgumentError if the bytes are not complete
    or an image that `image_header.checked` refuses; of these the message, which `reason` finds, begins with `where`.
    """
    return _decoded(contents, orientation, where, _decode)


@tf.function(autograph=False, input_signature=_ARGUMENTS)
def decode_named(contents: tf.Tensor, orientation: tf.Tensor, where: tf.Tensor) -> tf.Tensor:
    """Does what `decode` does, and begins the message with `where` also if a decoder fails.

    TensorFlow's decoders do not say which of many images they failed on.
    """
    return _decoded(contents, orientation, where, functools.partial(_decode_named, where=where))


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


def _decoded(
    contents: tf.Tensor, orientation: tf.Tensor, where: tf.Tensor, decode_with: Callable[[tf.Tensor, int], tf.Tensor]
) -> tf.Tensor:
    contents, _ = image_header.checked(contents, where)
    # Asked for three channels, TensorFlow refuses a WebP with alpha and drops the alpha of all other formats.
    is_webp = tf.strings.substr(contents, 0, 4) == b"RIFF"
    image = tf.cond(is_webp, lambda: decode_with(contents, 0)[..., :3], lambda: decode_with(contents, 3))
    image.set_shape([None, None, 3])
    return tf.cond(orientation > 1, lambda: _turn(image, orientation), lambda: image)


def _decode(contents: tf.Tensor, channels: int) -> tf.Tensor:
    return tf.io.decode_image(contents, channels=channels, expand_animations=False)


def _decode_named(contents: tf.Tensor, channels: int, where: tf.Tensor) -> tf.Tensor:
    """Decodes in a dataset that ignores errors: a graph has no other way to continue after one."""
    options = tf.data.Options()
    # One small operation needs no optimization, which would run at every call.
    options.experimental_optimization.apply_default_optimizations = False
    options.autotune.enabled = False
    nothing = tf.data.Dataset.from_tensors(tf.zeros([0, 0, 3], tf.uint8))
    with tf.device("CPU:0"):
        images = tf.data.Dataset.from_tensors(contents).map(lambda each: _decode(each, channels)).ignore_errors()
        image = images.concatenate(nothing).take(1).with_options(options).get_single_element()
    return image_header.require(tf.size(image) > 0, [where, _DAMAGED], image)


def _turn(image: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Returns the image as orientation 2..8 asks: 5 to 8 swap the axes, then either axis may be mirrored."""
    image = tf.cond(orientation >= 5, lambda: tf.transpose(image, [1, 0, 2]), lambda: image)
    upside_down = tf.reduce_any(orientation == [3, 4, 7, 8])
    mirrored = tf.reduce_any(orientation == [2, 3, 6, 7])
    return tf.raw_ops.Reverse(tensor=image, dims=tf.stack([upside_down, mirrored, False]))
