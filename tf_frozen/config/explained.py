"""Turns errors that gin and Python raise while objects are built into errors that say what to change."""

from __future__ import annotations

import contextlib
import re
import traceback
from collections.abc import Iterator

from gin import config as gin_config

from tf_frozen.config.bindings import Binding, bindings
from tf_frozen.config.configurables import find_configurable, parameters, unknown_parameter
from tf_frozen.config.external import is_external
from tf_frozen.config.required import how_to_give
from tf_frozen.errors import ConfigError, UserError

_CALLED = r"\n  In call to configurable '([^']+)'"


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """Turns errors about arguments that gin gives, where objects are built, into a ConfigError.

    They are missing, unknown, or values that the class refuses with a ValueError, or a class of another library with
    any error. A ConfigError gets the places of the bindings that it speaks of.

    A UserError from inside a configurable leaves without the text that gin adds, any other error as it is.
    """
    try:
        yield
    except ConfigError as error:
        raise _located(error) from without_gin(error).__cause__
    except UserError as error:
        original = without_gin(error)
        raise original from original.__cause__
    except (RuntimeError, TypeError, ValueError) as error:
        message = _explanation(error)
        if message is None:
            raise
        raise ConfigError(message) from error


def without_gin(error: Exception) -> Exception:
    """Returns the error below the copies that gin makes of it, one a call, to add the call to the message."""
    below = error.__context__
    while below is not None and type(error).__bases__ == (type(below),):
        if type(error).__name__ != type(below).__name__:
            break
        error, below = below, below.__context__
    return error


def _explanation(error: Exception) -> str | None:
    """Returns what the user should change; None when the error is not about arguments that gin gives."""
    text = str(error)
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    from_gin = frame.f_code.co_filename == gin_config.__file__  # Gin could not make the call at all.
    called = re.search(_CALLED, text)
    required = re.match(r"Required bindings for `(.+)` not provided in config: (\[.*\])", text)
    missing = re.search(r"missing \d+ required [a-z -]+ arguments?: (.*)", text)
    unknown = re.search(r"(?:unexpected keyword argument|Keyword argument not understood:',) '(\w+)'", text)
    if from_gin and required:
        return _missing_arguments(required[1], required[2])
    if from_gin and called and missing:
        return _missing_arguments(called[1], missing[1])
    if called and unknown:
        return _unexpected_argument(called[1], unknown[1])
    if called and (isinstance(error, ValueError) or is_external(find_configurable(called[1]))):
        return _refused_value(called[1], text.splitlines()[0])
    return None


def _missing_arguments(selector: str, names: str) -> str:
    bindings = [f"{selector}.{name}" for name in re.findall(r"'(\w+)'", names)]
    return "\n".join(f"'{binding}' has no value.{how_to_give(binding)}" for binding in bindings)


def _refused_value(name: str, reason: str) -> str | None:
    """Returns the message for a value that a class does not take, with all that gin gives it; None for nothing."""
    lines = [f"{binding.where}: {binding.text}" for binding in _given(name).values()]
    return "\n  ".join([f"{name} cannot be built: {reason}", "It was given:", *lines]) if lines else None


def _given(name: str) -> dict[str, Binding]:
    """Returns the bindings of a configurable, by parameter."""
    return {key[2]: binding for key, binding in bindings.items() if f".{key[1]}".endswith(f".{name}")}


def _located(error: ConfigError) -> ConfigError:
    """Returns the error as it was raised, with the bindings of the configurable around it whose parameters it names."""
    original = without_gin(error)
    message, called = str(original), re.search(_CALLED, str(error))
    if called is None:
        return original
    named = {name: given for name, given in _given(called[1]).items() if re.search(rf"\b{name}\b", message)}
    lines = [f"{given.where}: {given.text}" for given in named.values() if given.where not in message]
    return type(original)("\n  ".join([message, *lines])) if lines else original


def _unexpected_argument(name: str, parameter: str) -> str | None:
    """Returns the message for a keyword that got through a `**kwargs`, if a gin binding gave it."""
    for (_, selector, bound), binding in bindings.items():
        if bound == parameter and f".{selector}".endswith(f".{name}"):
            known, _ = parameters(find_configurable(selector))
            return f"{binding.where}: {unknown_parameter(name, parameter, known)}\n    {binding.text}"
    return None
