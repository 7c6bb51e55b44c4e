"""Shows what the package logs where nothing has configured logging, as in a script or a notebook."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def shown() -> Iterator[None]:
    """Within it messages go to standard output and warnings to standard error, unless logging is configured."""
    logger = logging.getLogger("tf_frozen")
    if _is_configured(logger):
        yield
        return
    out, err = logging.StreamHandler(sys.stdout), logging.StreamHandler(sys.stderr)
    out.addFilter(lambda record: record.levelno < logging.WARNING)
    err.setLevel(logging.WARNING)
    logger.handlers, logger.propagate = [out, err], False
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.handlers, logger.propagate = [], True
        logger.setLevel(logging.NOTSET)


def _is_configured(logger: logging.Logger) -> bool:
    """Whether anybody gave the package's logger or the root logger a handler or a level."""
    # TensorFlow calls a bare logging.basicConfig() when it saves a checkpoint: that is nobody's wish.
    wanted = [handler for handler in logging.root.handlers if not _is_of_basic_config(handler)]
    return bool(logger.handlers or logger.level or wanted or logging.root.level != logging.WARNING)


def _is_of_basic_config(handler: logging.Handler) -> bool:
    return type(handler) is logging.StreamHandler and getattr(handler.formatter, "_fmt", "") == logging.BASIC_FORMAT
