"""Shows what the package logs: in commands, and in scripts and notebooks that have not configured logging."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Callable, Iterator
from typing import TextIO


@contextlib.contextmanager
def to_console(handler: Callable[[TextIO], logging.Handler] = logging.StreamHandler) -> Iterator[None]:
    """Within it the package's messages go to standard output, and its warnings to standard error."""
    logger = logging.getLogger("tf_frozen")
    before = logger.handlers, logger.level, logger.propagate
    out, err = handler(sys.stdout), handler(sys.stderr)
    out.addFilter(lambda record: record.levelno < logging.WARNING)
    err.setLevel(logging.WARNING)
    logger.handlers, logger.propagate = [out, err], False
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.handlers, level, logger.propagate = before
        logger.setLevel(level)


def shown() -> contextlib.AbstractContextManager[None]:
    """As `to_console`, unless logging is configured."""
    return contextlib.nullcontext() if _is_configured(logging.getLogger("tf_frozen")) else to_console()


def _is_configured(logger: logging.Logger) -> bool:
    """Whether the package's logger or the root logger has a handler or a level."""
    # TensorFlow calls a bare logging.basicConfig() when it saves a checkpoint: that is not the user's choice.
    wanted = [handler for handler in logging.root.handlers if not _is_of_basic_config(handler)]
    return bool(logger.handlers or logger.level or wanted or logging.root.level != logging.WARNING)


def _is_of_basic_config(handler: logging.Handler) -> bool:
    return type(handler) is logging.StreamHandler and getattr(handler.formatter, "_fmt", "") == logging.BASIC_FORMAT
