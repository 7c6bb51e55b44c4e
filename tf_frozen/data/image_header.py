"""Checks the header of an image file in a graph, before a decoder reads the file.

A decoder allocates what the header asks for, and TensorFlow's writes beyond its buffer on an animated WebP (2.20).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import tensorflow as tf

from tf_frozen.data.byte_fields import advance, length, number, text

MAX_PIXELS = 2**27
"""Images of more pixels are refused: 134 megapixels, above any phone's camera, take 400 MB when they are decoded."""

_UNKNOWN = "this is not a JPEG, PNG, GIF, BMP or WebP image"
ANIMATED = "animated WebP is not supported, as its decoder may end the process; save one frame as a separate image"


def checked(contents: tf.Tensor, where: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns what of an image file is safe to decode, and its height and width in pixels as stored, int64 [2].

    Of a GIF that is the first frame. Raises tf.errors.InvalidArgumentError, whose message begins with `where`, if the
    file is of another format than JPEG, PNG, GIF, BMP and WebP, an animated WebP, a GIF whose first frame does not
    fill its screen, or of no pixel or more than MAX_PIXELS.
    """
    formats = [(b"\xff\xd8\xff", _jpeg), (b"\x89PNG\r\n\x1a\n", _png), (b"GIF8", _gif), (b"BM", _bmp), (b"RIFF", _webp)]
    is_format = tf.stack([text(contents, 0, len(magic)) == magic for magic, _ in formats])
    contents = require(tf.reduce_any(is_format), [where, _UNKNOWN], contents)
    branches = [lambda read=read: read(contents, where) for _, read in formats]
    contents, size = tf.switch_case(tf.argmax(is_format, output_type=tf.int32), branches)
    stated = [where, "the image has ", times(size), f" pixels; from 1 to {MAX_PIXELS:,} are supported"]
    return require(tf.reduce_all(size > 0) & (tf.reduce_prod(size) <= MAX_PIXELS), stated, contents), size


def require(condition: tf.Tensor, message: Sequence[tf.Tensor | str], value: tf.Tensor) -> tf.Tensor:
    """Returns `value`; raises tf.errors.InvalidArgumentError with the joined `message` where `condition` is False."""
    with tf.control_dependencies([tf.debugging.Assert(condition, [tf.strings.join(message)])]):
        return tf.identity(value)


def times(size: tf.Tensor) -> tf.Tensor:
    """Returns (height, width) as text, width first: '640 x 480'."""
    return tf.strings.reduce_join(tf.strings.as_string(tf.gather(size, [1, 0])), separator=" x ")


def is_animated_webp(contents: tf.Tensor) -> tf.Tensor:
    """Returns if the bytes of a WebP, 21 of them or more, announce an animation, of any number of frames."""
    return (text(contents, 12, 4) == b"VP8X") & (number(contents, 20, 1) // 2 % 2 == 1)


def _jpeg(contents: tf.Tensor, where: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    del where
    return contents, tf.image.extract_jpeg_shape(contents, tf.int64)[:2]


def _png(contents: tf.Tensor, where: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    del where
    return contents, tf.stack([number(contents, 20, 4), number(contents, 16, 4)])


def _bmp(contents: tf.Tensor, where: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    del where
    width, height = number(contents, 18, 4, big_endian=False), number(contents, 22, 4, big_endian=False)
    # The height is signed: negative where the first row comes first.
    return contents, tf.stack([tf.where(height >= 2**31, 2**32 - height, height), width])


def _webp(contents: tf.Tensor, where: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """RFC 9649: the first chunk is VP8X with flags and the size of the canvas, VP8L (lossless) or VP8 (lossy)."""
    chunk = text(contents, 12, 4)
    contents = require(text(contents, 8, 4) == b"WEBP", [where, _UNKNOWN], contents)
    contents = require(~is_animated_webp(contents), [where, ANIMATED], contents)
    little = functools.partial(number, contents, big_endian=False)
    lossy = tf.stack([little(28, 2), little(26, 2)]) % 2**14
    lossless = tf.stack([little(21, 4) // 2**14, little(21, 4)]) % 2**14 + 1
    canvas = tf.stack([little(27, 3), little(24, 3)]) + 1
    return contents, tf.where(chunk == b"VP8X", canvas, tf.where(chunk == b"VP8L", lossless, lossy))


def _gif(contents: tf.Tensor, where: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """GIF89a, sections 15 to 23 and 27: extensions come before the first frame, which ends with its blocks of data.

    The other frames are cut off: the decoder would read them all, each with a separate size.
    """
    little = functools.partial(number, contents, big_endian=False)

    def after_blocks(at: tf.Tensor) -> tf.Tensor:
        return advance(contents, at, lambda at: little(at, 1) > 0, lambda at: little(at, 1) + 1) + 1

    first = 13 + _gif_colours(little(10, 1))
    frame = advance(contents, first, lambda at: little(at, 1) == 0x21, lambda at: after_blocks(at + 2) - at)
    after = after_blocks(frame + 10 + _gif_colours(little(frame + 9, 1)) + 1)
    screen = tf.stack([little(8, 2), little(6, 2)])
    size = tf.stack([little(frame + 7, 2), little(frame + 5, 2)])
    partial = [where, "the first frame of the GIF, ", times(size), ", does not fill its screen, ", times(screen)]
    first_frame = tf.strings.join([text(contents, 0, after), tf.where(after < length(contents), b";", b"")])
    return require(tf.reduce_all(size == screen), partial, first_frame), size


def _gif_colours(flags: tf.Tensor) -> tf.Tensor:
    """Returns the bytes of the color table that follows a field of such flags."""
    return tf.where(flags >= 128, 3 * 2 ** (flags % 8 + 1), 0)
