"""Checks values against annotated types, as leniently as Python treats numbers and sequences."""

from __future__ import annotations

import ast
import collections.abc
import functools
import inspect
import numbers
import textwrap
import types
import typing
from typing import Annotated, Any, NamedTuple

_UNIONS = (typing.Union, types.UnionType)
_NOUNS = {int: ("an integer", "integers"), float: ("a number", "numbers"), str: ("a string", "strings")}
_NOUNS |= {bool: ("True or False", "values True or False"), type(None): ("None", "None")}


class Made(NamedTuple):
    """Placeholder for a value that is not built yet; `kind` is its type or its annotation."""

    kind: Any


@functools.cache
def parameter_types(function: Any) -> dict[str, Any]:
    """Returns the annotated types of a function's parameters and result; nothing where they cannot be evaluated."""
    try:
        return typing.get_type_hints(function, include_extras=True)
    except (AttributeError, NameError, TypeError):
        return {}


def made_by(maker: Any) -> Made:
    """Returns what stands for what a class or function makes."""
    return Made(maker if inspect.isclass(maker) else parameter_types(maker).get("return", Any))


def fits(value: Any, expected: Any) -> bool:
    """Returns whether `value` is of the annotated type `expected`.

    An integer is a number, a list or an array may be a tuple, True is not an integer. Types that are not understood fit
    everything.
    """
    kind, inner = typing.get_origin(expected) or expected, typing.get_args(expected)
    if kind is Any:
        return True
    if kind in _UNIONS:
        return any(fits(value, one) for one in inner)
    if kind is Annotated:
        return fits(value, inner[0]) and (isinstance(value, Made) or value in inner[1])
    if isinstance(value, Made):
        return _made_fits(value.kind, kind, inner)
    if kind is typing.Literal:
        return value in inner
    if kind in (int, float):
        number = numbers.Integral if kind is int else numbers.Real
        return isinstance(value, number) and not isinstance(value, bool)
    if not isinstance(kind, type):
        return True
    if not issubclass(kind, collections.abc.Collection) or issubclass(kind, str):
        return isinstance(value, kind)
    return _collection_fits(value, kind, inner)


def fault(name: str, value: Any, expected: Any) -> str:
    """Returns the message for a value that does not fit: name, value, the expected type and what was likely meant."""
    shown = textwrap.shorten(repr(value), 80)
    meant = [repr(guess) for guess in _guesses(value) if fits(guess, expected)]
    if inspect.isclass(value) or inspect.isfunction(value):
        shown = f"the {'class' if inspect.isclass(value) else 'function'} {value.__name__}"
        if fits(made_by(value), expected):
            meant.append(f"{value.__name__}()")
    advice = f" Did you mean {meant[0]}?" if meant else ""
    return f"{name} is {shown}; it must be {describe(expected)}.{advice}"


def describe(expected: Any) -> str:
    """Returns an annotated type in words."""
    kind, inner = typing.get_origin(expected) or expected, typing.get_args(expected)
    if kind in _UNIONS:
        return " or ".join(describe(one) for one in inner)
    if kind is typing.Literal:
        return " or ".join(map(repr, inner))
    if kind is Annotated:
        return inner[1].describe(describe(inner[0]))
    if kind in _NOUNS:
        return _NOUNS[kind][0]
    if kind is collections.abc.Callable:
        return "a function or class"
    if isinstance(kind, type) and issubclass(kind, collections.abc.Sequence):
        return f"a sequence{_of(inner)}"
    return f"an instance of {getattr(kind, '__name__', kind)}"


def _of(inner: tuple[Any, ...]) -> str:
    """Returns what a sequence consists of, as ' of 2 integers'."""
    if not inner:
        return ""
    fixed = len(inner) > 1 and inner[1] is not Ellipsis
    if fixed and len(set(inner)) > 1:
        return f" of {' and '.join(map(describe, inner))}"
    return f" of {len(inner)} {_plural(inner[0])}" if fixed else f" of {_plural(inner[0])}"


def _plural(kind: Any) -> str:
    """Returns a type of items in words."""
    if typing.get_origin(kind) is Annotated:
        base, limits = typing.get_args(kind)
        return limits.describe(_plural(base))
    if typing.get_origin(kind) or kind is tuple:
        return describe(kind).replace("a sequence", "sequences", 1)
    return _NOUNS[kind][1] if kind in _NOUNS else f"instances of {kind.__name__}"


def _guesses(value: Any) -> list[Any]:
    """Returns what a user may have meant by a value of the wrong type."""
    if not isinstance(value, str):
        return [(value,), (value, value)]
    try:
        return [ast.literal_eval(value)]
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return [(value,)]


def _collection_fits(value: Any, kind: type, inner: tuple[Any, ...]) -> bool:
    if issubclass(kind, collections.abc.Mapping | collections.abc.Set):
        return isinstance(value, kind)
    if isinstance(value, str | bytes | collections.abc.Mapping) or not isinstance(value, collections.abc.Collection):
        return False
    if kind is tuple and inner and inner[-1] is not Ellipsis:
        return len(value) == len(inner) and all(map(fits, value, inner))
    return not inner or all(fits(item, inner[0]) for item in value)


def _made_fits(made: Any, kind: Any, inner: tuple[Any, ...]) -> bool:
    origin = typing.get_origin(made) or made
    if origin is Annotated:
        return _made_fits(typing.get_args(made)[0], kind, inner)
    if origin in _UNIONS:
        return any(_made_fits(one, kind, inner) for one in typing.get_args(made))
    if origin is Any or not isinstance(origin, type) or not isinstance(kind, type):
        return True
    if kind is collections.abc.Callable:
        result = inner[-1] if inner else None
        # A callable that returns detectors is expected, not a detector, which is callable too.
        return issubclass(origin, kind) and not (isinstance(result, type) and issubclass(origin, result))
    return issubclass(origin, kind) or (origin, kind) == (int, float)
