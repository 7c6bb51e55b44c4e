"""Checks image files, many at once: size, orientation, and whether training can decode them."""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
import os
import stat
import struct
import warnings
from collections.abc import Sequence
from typing import BinaryIO, NamedTuple

import tensorflow as tf
from PIL import Image

from tf_frozen.data import image_header, images
from tf_frozen.data.faults import Problem
from tf_frozen.progress import Counter

MISSING = Problem("missing_image", "the file does not exist")
_FORMATS = ("JPEG", "MPO", "PNG", "GIF", "BMP", "WEBP")
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_BIT_DEPTH_AT = 24
_PIL_ERRORS = (OSError, SyntaxError, ValueError, EOFError, struct.error)


class Header(NamedTuple):
    """Size in pixels as displayed, after the EXIF orientation 1..8."""

    height: int
    width: int
    orientation: int


def inspect_files(files: Sequence[str], decode: bool) -> list[Header | Problem]:
    """Returns `inspect_file` for every file, in order, and shows progress."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # `inspect_file` has its own limit
        executor = stack.enter_context(concurrent.futures.ThreadPoolExecutor())
        # Closed first, so that an interrupt does not wait for the files that are left.
        found = stack.enter_context(
            contextlib.closing(executor.map(functools.partial(inspect_file, decode=decode), files))
        )
        counter = stack.enter_context(Counter(len(files), "checking", "images"))
        return list(counter.over(found))


def inspect_file(file: str, decode: bool) -> Header | Problem:
    """Returns the header of an image file, or why it cannot be used; `decode` also decodes every pixel."""
    try:
        if not stat.S_ISREG(os.stat(file).st_mode):  # reading a pipe or a device may never end
            return Problem("unreadable_image", "this is not a regular file")
        with open(file, "rb") as stream:
            return inspect_image(stream, decode)
    except FileNotFoundError:
        return MISSING
    except _PIL_ERRORS as error:
        return _unreadable(error)


def inspect_image(stream: BinaryIO, decode: bool) -> Header | Problem:
    """Returns the header of an encoded image, or why it cannot be used; `decode` also decodes every pixel."""
    try:
        start = stream.read(_PNG_BIT_DEPTH_AT + 1)
        if not start:
            return Problem("unreadable_image", "the file is empty")
        with Image.open(stream) as image:
            problem = _unsupported(image, start)
            header = _header(image)
        return problem or (_undecodable(stream, header) if decode else None) or header
    except Image.DecompressionBombError as error:
        return Problem("image_too_large", str(error).rstrip("."))
    except Image.UnidentifiedImageError:
        return Problem("unreadable_image", "this is not an image in a format that can be read")
    except _PIL_ERRORS as error:
        return _unreadable(error)


def _unreadable(error: Exception) -> Problem:
    return Problem("unreadable_image", f"cannot be read ({getattr(error, 'strerror', None) or error})")


def _header(image: Image.Image) -> Header:
    orientation = images.exif_orientation(image)
    width, height = image.size if orientation < 5 else image.size[::-1]
    return Header(height, width, orientation)


def _unsupported(image: Image.Image, start: bytes) -> Problem | None:
    """Returns why an image that Pillow can open would lose values in training, or None."""
    png_depth = start[_PNG_BIT_DEPTH_AT] if start.startswith(_PNG_SIGNATURE) else 8
    if png_depth == 16 or image.mode.startswith(("I", "F")):
        return Problem("sixteen_bit_image", "the image has more than 8 bits a channel")
    if image.format not in _FORMATS:
        return Problem("unsupported_image", f"{image.format} is a format that TensorFlow does not decode")
    if image.format == "BMP" and image.mode in ("P", "1"):
        return Problem("unsupported_image", "TensorFlow does not decode the palette of this BMP")
    if image.format == "WEBP" and image_header.is_animated_webp(start):
        return Problem("unsupported_image", image_header.ANIMATED)
    if image.width * image.height > image_header.MAX_PIXELS:
        size = f"{image.width} x {image.height}"
        return Problem(
            "image_too_large", f"the image has {size} pixels; up to {image_header.MAX_PIXELS:,} are supported"
        )
    return None


def _undecodable(stream: BinaryIO, header: Header) -> Problem | None:
    """Decodes with the decoder of training, so that what passes here cannot stop a run later."""
    stream.seek(0)
    try:
        with tf.device("CPU:0"):
            height, width, _ = images.decode(stream.read(), header.orientation).shape
    except tf.errors.OpError as error:
        refused = images.reason(error)
        return Problem("unsupported_image", refused) if refused else _reason(stream)
    if (height, width) != header[:2]:
        stated = f"{header.width} x {header.height}"
        return Problem("unreadable_image", f"it decodes to {width} x {height} pixels, but its header states {stated}")
    return None


def _reason(stream: BinaryIO) -> Problem:
    """Asks Pillow why an image cannot be decoded, because it tells truncated files from others."""
    try:
        with Image.open(stream) as image:
            image.load()
    except _PIL_ERRORS as error:
        kind = "truncated_image" if "truncated" in str(error) else "unreadable_image"
        return Problem(kind, f"cannot be decoded ({error})")
    return Problem("unreadable_image", "cannot be decoded by TensorFlow")
