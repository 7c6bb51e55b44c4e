"""Turns errors of reading images during a run into errors that name the image."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator

import tensorflow as tf

from tf_frozen.data.checks.images import MISSING, Header, inspect_image
from tf_frozen.data.faults import Fault, Problem, describe
from tf_frozen.data.pipeline import READ
from tf_frozen.data.source import DataSource
from tf_frozen.errors import DataError

_logger = logging.getLogger(__name__)
_OPERATIONS = ("DecodeImage", "ExtractJpegShape", READ)  # whose errors do not state the image


@contextlib.contextmanager
def named(source: DataSource) -> Iterator[None]:
    """Raises DataError that names the image where code inside fails because it cannot read an image of the source.

    That is one which is gone, damaged or of another size than the example has. Other errors pass as they are.
    """
    try:
        yield
    except (tf.errors.OpError, OSError) as error:
        fault = _fault(str(error), source)
        if fault is None:
            raise
        rest = "Then run the same command again; training resumes from its last checkpoint."
        raise DataError(f"An image can no longer be read.\n{describe([fault])}\n{rest}", [fault]) from error


def _fault(message: str, source: DataSource) -> Fault | None:
    indices = range(len(source.examples))
    stated = [index for index in indices if source.describe(index) in message]
    if not stated and not any(name in message for name in _OPERATIONS):
        return None
    if not stated:
        _logger.info("An image cannot be decoded. Looking for it among %d images.", len(indices))
    for index in stated or sorted(indices, key=source.changed_at, reverse=True):
        problem = _problem(source, index)
        if problem:
            where, image_id = source.describe(index), source.examples[index].image_id
            return Fault(problem.kind, where, image_id, message=problem.message)
    return None


def _problem(source: DataSource, index: int) -> Problem | None:
    try:
        contents = source.contents(index)
    except tf.errors.NotFoundError:
        return MISSING
    except tf.errors.OpError as error:
        return Problem("unreadable_image", f"cannot be read ({error.message.splitlines()[0]})")
    except Exception as error:  # whatever the code of a source raises
        return Problem("unreadable_image", f"cannot be read ({type(error).__name__}: {error})")
    found, example = inspect_image(io.BytesIO(contents), decode=True), source.examples[index]
    if not isinstance(found, Header):
        return found
    if (found.height, found.width) == (example.height, example.width):
        return None
    sizes = f"{found.width} x {found.height} pixels, but had {example.width} x {example.height}"
    return Problem("changed_image", f"the image has {sizes} when it was checked")
