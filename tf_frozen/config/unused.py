"""Bindings that had no effect."""

from __future__ import annotations

import logging
import textwrap

from gin import config as gin_config

from tf_frozen.config.bindings import MACRO, Key, bindings, effective, macros_mentioned
from tf_frozen.errors import ConfigError
from tf_frozen.gin_files import did_you_mean

_logger = logging.getLogger(__name__)


def unused_bindings() -> list[str]:
    """Returns a line for each binding that no call has received and each macro that no binding mentions."""
    used = _used_keys()
    lines = []
    for key, binding in bindings.items():
        line = f"{binding.name} = {textwrap.shorten(repr(binding.value), 60)} ({binding.where})"
        if key[1] == MACRO and key[0] not in macros_mentioned:
            advice = did_you_mean(key[0], macros_mentioned) or " No gin file uses this macro."
            lines.append(f"{line}.{advice}")
        elif key[1] != MACRO and key not in used:
            lines.append(line)
    return lines


def report_unused(strict: bool = False) -> None:
    """Logs what `unused_bindings` finds, or raises it as a ConfigError when `strict`."""
    lines = unused_bindings()
    text = "\n  ".join(["Nothing used these gin bindings:", *lines])
    if lines and strict:
        raise ConfigError(f"{text}\nCorrect or remove them, or run without --strict.")
    if lines:
        _logger.warning(text)


def _used_keys() -> set[Key]:
    """Returns the bindings whose values a call received, or will receive when it is made.

    What was handed over as `@name` and is not called yet counts with all its bindings.
    """
    operative = gin_config._OPERATIVE_CONFIG
    called = {*operative, *(("", selector) for _, selector in operative)}
    waiting = [(*call, frozenset(values)) for call, values in operative.items()]
    used = set()
    while waiting:
        scope, selector, parameters = waiting.pop()
        for key in effective(scope, selector):
            if key in used or parameters is not None and key[2] not in parameters:
                continue
            used.add(key)
            references = gin_config.iterate_references(bindings[key].value)
            waiting += [(*call, None) for call in {reference.config_key for reference in references} - called]
    return used
