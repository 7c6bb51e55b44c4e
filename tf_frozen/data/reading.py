"""Errors of reading images in the middle of a run, by the name of the file."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator, Sequence

import tensorflow as tf

from tf_frozen.data.checks.images import Header, look_at
from tf_frozen.data.example import Example
from tf_frozen.data.faults import Fault, Problem, describe
from tf_frozen.errors import DataError

_logger = logging.getLogger(__name__)


@contextlib.contextmanager
def named(examples: Sequence[Example]) -> Iterator[None]:
    """Raises DataError that names the file where code inside fails because it cannot read the image of an example.

    That is one which is gone, damaged or of another size than the example has. Other errors pass as they are.
    """
    try:
        yield
    except (tf.errors.OpError, OSError) as error:
        fault = _fault(str(error), examples)
        if fault is None:
            raise
        rest = "Then run the same command again; training goes on from its last checkpoint."
        raise DataError(f"An image can no longer be read.\n{describe([fault])}\n{rest}", [fault]) from error


def _fault(message: str, examples: Sequence[Example]) -> Fault | None:
    stated = [example for example in examples if example.path in message]
    if not stated and "DecodeImage" not in message and "ExtractJpegShape" not in message:
        return None
    if not stated:
        _logger.info("An image cannot be decoded. Looking for it among %d images.", len(examples))
    for example in stated or sorted(examples, key=_changed_at, reverse=True):
        problem = _problem(example)
        if problem:
            return Fault(problem.kind, example.path, example.image_id, message=problem.message)
    return None


def _problem(example: Example) -> Problem | None:
    found = look_at(example.path, decode=True)
    if not isinstance(found, Header):
        return found
    if (found.height, found.width) == (example.height, example.width):
        return None
    sizes = f"{found.width} x {found.height} pixels, but had {example.width} x {example.height}"
    return Problem("changed_image", f"the image has {sizes} when it was checked")


def _changed_at(example: Example) -> float:
    """When the file was last written or replaced; what changed during a run is likely to be what stopped it."""
    try:
        return os.stat(example.path).st_ctime
    except OSError:
        return float("inf")
