"""Finds macros and configurables whose values need each other."""

from __future__ import annotations

from collections.abc import Iterator

from gin import config as gin_config

from tf_frozen.config.bindings import Key, bindings, effective
from tf_frozen.errors import ConfigError


def check_circles() -> None:
    """Raises a ConfigError where the value of a macro or parameter would have to exist before itself."""
    finished: set[tuple[str, str]] = set()
    for scope, selector, _ in bindings:
        _follow((scope, selector), [], finished)


def _follow(call: tuple[str, str], path: list[tuple[tuple[str, str], Key]], finished: set[tuple[str, str]]) -> None:
    """Visits all that a call makes; `path` are the calls that led here, each with the binding that led on."""
    calls = [before for before, _ in path]
    if call in calls:
        circle = [bindings[key] for _, key in path[calls.index(call) :]]
        lines = [f"{binding.where}: {binding.text}" for binding in circle]
        raise ConfigError("\n  ".join(["These values need each other, in a circle:", *lines]))
    if call not in finished:
        for key, needed in _needs(*call):
            _follow(needed, [*path, (call, key)], finished)
        finished.add(call)


def _needs(scope: str, selector: str) -> Iterator[tuple[Key, tuple[str, str]]]:
    """Yields the calls that gin makes for the bindings of a call."""
    for key in effective(scope, selector):
        for reference in gin_config.iterate_references(bindings[key].value):
            if reference.evaluate:
                yield key, ("/".join(reference.scopes) or scope, reference.configurable.selector)
