"""User errors; the command line prints them without a traceback and exits with 2."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class UserError(Exception):
    """Something the user gave is wrong; the message says what, where, and what to do."""


class ConfigError(UserError):
    """A gin file, a binding or a constructor argument is wrong."""


class DataError(UserError):
    """Annotations or images are wrong; `faults` lists every fault that was found."""

    def __init__(self, message: str, faults: Sequence[Any] = ()):
        super().__init__(message)
        self.faults = list(faults)


class FreezeError(UserError):
    """Something that should have stayed frozen did not, or should never have been frozen."""


class RunError(UserError):
    """A run directory, checkpoint or disk is not in the state that a command needs."""


def listing(title: str, rows: Sequence[str], most: int = 10) -> str:
    """The count and title of the rows, then the rows themselves, but no more than `most`."""
    more = [f"and {len(rows) - most} more"] if len(rows) > most else []
    return "\n    ".join([f"  {len(rows)} {title}:", *rows[:most], *more])
