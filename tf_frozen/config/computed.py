"""Computes the values of macros, mostly from the data, as NUM_CLASSES = @num_classes()."""

from __future__ import annotations

import ast
import inspect
import logging
import re
from collections.abc import Iterable
from typing import Any

import gin
from gin import config as gin_config

from tf_frozen.config import bindings
from tf_frozen.config.explained import explained
from tf_frozen.errors import ConfigError

_LOGGER = logging.getLogger(__name__)


def pin_computed(earlier: Iterable[str] = ()) -> None:
    """Replaces each macro that a function computes by its value, so that the saved configuration states it.

    `earlier` has the lines of a saved configuration, whose values are kept. Logs the values. Raises what the functions
    raise.
    """
    kept = dict(filter(None, map(_literal, earlier)))
    lines = []
    for key, binding in list(bindings.bindings.items()):
        if key[1] == bindings.MACRO and _is_computed(binding.value):
            name, function = key[0], binding.value
            with explained():
                value = kept[name] if name in kept else function.scoped_configurable_fn()
            bindings.bind(key, binding._replace(value=value))
            lines.append(f"{name} = {value!r}  # {'as this run began' if name in kept else function}")
    if lines:
        _LOGGER.info("%s", "\n".join(["Settings that follow the data:", *lines]))


def pin_macro(name: str, value: int, meaning: str) -> None:
    """Gives a macro of the configuration the value that was computed for it; nothing without the macro.

    Raises ConfigError when the configuration states another number; `meaning` says what the value is.
    """
    binding = bindings.macro(name)
    if binding is None:
        return
    if isinstance(binding.value, int) and binding.value != value:
        advice = f"Give the right one with `gin_params` '{name} = {value}'"
        raise ConfigError(f"{binding.where}: {name} is {binding.value}, but {meaning} is {value}. {advice}")
    gin.bind_parameter((name, bindings.MACRO, "value"), value)


def _is_computed(value: Any) -> bool:
    """Whether a value is a call of a function, not of a class or another macro."""
    if not isinstance(value, gin_config.ConfigurableReference) or not value.evaluate:
        return False
    return value.configurable.selector != bindings.MACRO and not inspect.isclass(value.configurable.wrapped)


def _literal(line: str) -> tuple[str, Any] | None:
    """Returns name and value of a line 'NAME = value'; None for any other, and where the value refers to others."""
    match = re.fullmatch(r"(\w+) = (.+)", line)
    try:
        return match and (match[1], ast.literal_eval(match[2]))
    except (ValueError, SyntaxError):
        return None
