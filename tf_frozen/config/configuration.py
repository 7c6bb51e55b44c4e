"""A gin configuration as a value: several can exist side by side, and gin uses the active one."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import gin

from tf_frozen.config import bindings
from tf_frozen.config.gin_internals import containers, set_locked
from tf_frozen.config.unused import report_unused

# What gin keeps of a configuration for the whole process, and the record of where each binding is from.
_PARTS = (*containers(), bindings.bindings, bindings.replaced)


class Configuration:
    """The complete gin state of one experiment; empty at first.

    While it is `active`, gin reads files into it, binds in it and builds from it. Afterwards the previous state of gin,
    the user's own configuration or that of another run, is restored. `current` is the active one, or None.
    """

    current: ClassVar[Configuration | None] = None

    def __init__(self) -> None:
        self._contents: list[Any] = [type(part)() for part in _PARTS]

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """Within it, gin has this configuration, unlocked, and no scope; it may be entered again inside."""
        if Configuration.current is self:
            yield
            return
        locked, outer, before = gin.config_is_locked(), Configuration.current, _exchanged(self._contents)
        set_locked(False)
        Configuration.current = self
        try:
            with gin.config_scope(None):
                yield
        finally:
            Configuration.current, self._contents = outer, _exchanged(before)
            set_locked(locked)

    def complete(self, made: Mapping[str, Any], strict: bool) -> None:
        """Reports what nothing has used once the parts of a run are `made`; ConfigError for that where `strict`."""
        report_unused(strict)


def _exchanged(new: Sequence[Any]) -> list[Any]:
    """Gives gin other contents, in its own containers; returns those that it had."""
    before = [copy.copy(part) for part in _PARTS]
    for part, content in zip(_PARTS, new, strict=True):
        part.clear()
        if isinstance(part, list):
            part.extend(content)
        else:
            part.update(content)
    return before
