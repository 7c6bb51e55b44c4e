"""Reads the EXIF orientation of an image file in a graph (EXIF 2.3, section 4.6.4)."""

from __future__ import annotations

import tensorflow as tf

from tf_frozen.data.byte_fields import advance, length, number, text, unsigned

_ORIENTATION = 0x0112
_SHORT, _LONG = 3, 4


def orientation(contents: tf.Tensor) -> tf.Tensor:
    """Returns the orientation 1…8, int32, that a JPEG, PNG or WebP file notes; 1 where it notes none that is valid."""
    formats = [(0, b"\xff\xd8", _in_jpeg), (0, b"\x89PNG", _in_png), (8, b"WEBP", _in_webp)]
    cases = [(text(contents, at, len(magic)) == magic, lambda find=find: find(contents)) for at, magic, find in formats]
    return orientation_of_block(contents, tf.case(cases, lambda: length(contents)))


def orientation_of_block(contents: tf.Tensor, at: tf.Tensor | int = 0) -> tf.Tensor:
    """Returns the orientation 1…8, int32, in the EXIF block at position `at`; 1 where it holds none that is valid.

    The block is a TIFF header and its first directory, of which each entry has a tag, a type, a count and a value.
    """
    start = tf.cast(at, tf.int64)
    start += tf.where(text(contents, start, 6) == b"Exif\0\0", tf.constant(6, tf.int64), 0)
    byte_order = text(contents, start, 4)
    big = byte_order == b"MM\0*"
    first = start + number(contents, start + 4, 4, big)
    count = tf.minimum(number(contents, first, 2, big), tf.maximum(length(contents) - first - 2, 0) // 12)
    entries = tf.reshape(tf.io.decode_raw(text(contents, first + 2, 12 * count), tf.uint8), [-1, 12])
    tag, kind, values = (unsigned(entries[:, i:j], big) for i, j in ((0, 2), (2, 4), (4, 8)))
    value = tf.where(kind == _SHORT, unsigned(entries[:, 8:10], big), unsigned(entries[:, 8:12], big))
    noted = (tag == _ORIENTATION) & ((kind == _SHORT) | (kind == _LONG)) & (values == 1) & (value >= 1) & (value <= 8)
    noted &= big | (byte_order == b"II*\0")
    return tf.cast(tf.concat([tf.constant([1], tf.int64), value[noted]], 0)[-1], tf.int32)


def _in_jpeg(contents: tf.Tensor) -> tf.Tensor:
    """The position of the EXIF block among the segments (marker, length, data) before the pixels; the end if none."""
    is_exif = lambda at: (number(contents, at, 2) == 0xFFE1) & (text(contents, at + 4, 6) == b"Exif\0\0")  # noqa: E731

    def goes_on(at: tf.Tensor) -> tf.Tensor:
        return (number(contents, at, 1) == 0xFF) & (number(contents, at + 1, 1) != 0xDA) & ~is_exif(at)

    def step(at: tf.Tensor) -> tf.Tensor:
        is_marker = number(contents, at + 1, 1) != 0xFF  # a fill byte otherwise
        return tf.where(is_marker, 2 + number(contents, at + 2, 2), 1)

    at = advance(contents, 2, goes_on, step)
    return tf.where(is_exif(at), at + 4, length(contents))


def _in_png(contents: tf.Tensor) -> tf.Tensor:
    """The same for the chunks (length, type, data, checksum) of a PNG."""

    def goes_on(at: tf.Tensor) -> tf.Tensor:
        kind = text(contents, at + 4, 4)
        return (kind != b"eXIf") & (kind != b"IDAT")

    at = advance(contents, 8, goes_on, lambda at: 12 + number(contents, at, 4))
    return tf.where(text(contents, at + 4, 4) == b"eXIf", at + 8, length(contents))


def _in_webp(contents: tf.Tensor) -> tf.Tensor:
    """The same for the chunks (type, length, data, padded to an even length) of a WebP whose header announces it."""
    size = lambda at: number(contents, at + 4, 4, big_endian=False)  # noqa: E731
    announced = (text(contents, 12, 4) == b"VP8X") & (number(contents, 20, 1) // 8 % 2 == 1)
    at = advance(contents, 12, lambda at: text(contents, at, 4) != b"EXIF", lambda at: 8 + size(at) + size(at) % 2)
    return tf.where(announced, at + 8, length(contents))
