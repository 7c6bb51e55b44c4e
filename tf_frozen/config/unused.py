"""Finds bindings that had no effect."""

from __future__ import annotations

import logging
import textwrap
from collections.abc import Iterable
from typing import Any

from gin import config as gin_config

from tf_frozen.config.bindings import MACRO, Binding, Key, bindings, effective, replaced, unbind
from tf_frozen.config.gin_internals import received
from tf_frozen.errors import ConfigError

_logger = logging.getLogger(__name__)


def unused_bindings() -> list[str]:
    """Returns a line for each binding that no call has received.

    The bindings of a part that a later binding replaced, such as a neck, are not listed.
    """
    accounted = _used_keys() | out_of_use()
    left = {key: binding for key, binding in bindings.items() if key not in accounted}
    # Correcting these also corrects the macros that they take their values from.
    explained = set().union(*(binding.macros() for key, binding in left.items() if key[1] != MACRO))
    return [
        f"{binding.name} = {textwrap.shorten(repr(binding.value), 60)} ({binding.where})"
        for key, binding in left.items()
        if key[1] != MACRO or key[0] not in explained
    ]


def report_unused(strict: bool = False) -> None:
    """Logs what `unused_bindings` finds, or raises it as a ConfigError when `strict`."""
    lines = unused_bindings()
    text = "\n  ".join(["Nothing used these gin bindings:", *lines])
    if lines and strict:
        raise ConfigError(f"{text}\nCorrect or remove them, or run without `strict`.")
    if lines:
        _logger.warning(text)


def drop_needed_only_by(keys: Iterable[Key]) -> None:
    """Takes away these bindings, if there are such, and those that only they refer to, directly or through others."""
    dropped = {key for key in keys if key in bindings}
    candidates = _reached([bindings[key].value for key in dropped], set()) - dropped
    kept = _reached([each.value for key, each in bindings.items() if key not in candidates | dropped], set())
    for key in dropped | (candidates - kept):
        unbind(key)


def drop_hidden(keys: Iterable[Key]) -> None:
    """Takes away the bindings without a scope that bindings of `keys`, in scopes, replace wherever anything refers."""
    scoped = {key[1:] for key in keys if key[0]}
    hidden = {key for key in bindings if not key[0] and key[1:] in scoped}
    drop_needed_only_by(hidden - _reached([binding.value for binding in bindings.values()], set()))


def _used_keys() -> set[Key]:
    """Returns the bindings whose values a call received, or will receive when it is made.

    What was handed over as `@name` and is not called yet counts with all its bindings.
    """
    calls = received()
    called = {*calls, *(("", selector) for _, selector in calls)}
    used = [key for call, values in calls.items() for key in effective(*call) if key[2] in values]
    return {*used, *_reached([bindings[key].value for key in used], called)}


def out_of_use() -> set[Key]:
    """Returns the bindings of what a binding referred to before another replaced it, without those made later.

    What something else refers to is in use.
    """
    reached = ((key, beside) for _, before, beside in replaced for key in _reached([before.value], set()))
    idle = {key for key, beside in reached if key in beside and _same_line(beside[key], bindings[key])}
    return idle - _reached([binding.value for key, binding in bindings.items() if key not in idle], set())


def _same_line(first: Binding, second: Binding) -> bool:
    """Whether two bindings are those of one line, whose value may have been computed since."""
    return (first.where, first.text) == (second.where, second.text)


def _reached(values: Iterable[Any], visited: set[tuple[str, str]]) -> set[Key]:
    """Returns the bindings of all that values refer to, by way of other bindings too, but for calls in `visited`."""
    waiting, found = list(values), set()
    visited = set(visited)
    while waiting:
        for reference in gin_config.iterate_references(waiting.pop()):
            if reference.config_key not in visited:
                visited.add(reference.config_key)
                keys = effective(*reference.config_key)
                found.update(keys)
                waiting += [bindings[key].value for key in keys]
    return found
