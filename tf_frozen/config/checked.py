"""Classes and functions whose arguments are checked against their annotations: types, and ranges of numbers."""

from __future__ import annotations

import functools
import inspect
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tf_frozen.config.value_types import fault, fits, parameter_types
from tf_frozen.errors import ConfigError


class Checked:
    """Mixin, listed first: raises ConfigError for an argument that is not of its annotated type or out of its range."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Checked:
        """Checks the arguments before the constructor, which may convert them, takes them."""
        check_arguments(cls, args, kwargs)
        new = super().__new__
        return new(cls) if new is object.__new__ else new(cls, *args, **kwargs)


def checked(function: Callable) -> Callable:
    """Decorates a function: an argument that is not of its annotated type or out of its range is a ConfigError."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        check_arguments(function, args, kwargs)
        return function(*args, **kwargs)

    call.__signature__ = inspect.signature(function)  # where gin looks for the parameters
    return call


def check_arguments(kind: Callable, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Raises ConfigError for an argument that does not fit the annotation of a function or of a class's constructor."""
    of_class = inspect.isclass(kind)
    types = _annotated(kind) if of_class else parameter_types(kind)
    for name, value in named(kind.__init__ if of_class else kind, args, kwargs).items():
        if not fits(value, types.get(name, Any)):
            raise ConfigError(fault(f"{kind.__name__}.{name}", value, types[name]))


def named(method: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the arguments of a method by name; those that do not fit are left to the method to refuse."""
    names = [name for name in inspect.signature(method).parameters if name != "self"]
    return {**dict(zip(names, args, strict=False)), **kwargs}


@functools.cache
def _annotated(kind: type) -> dict[str, Any]:
    """Returns the types of the constructor arguments, which a class may hand on to the classes that it extends."""
    own = [parameter_types(base.__init__) for base in reversed(kind.__mro__) if Checked in base.__mro__[1:]]
    return functools.reduce(operator.or_, own)
