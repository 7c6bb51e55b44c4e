"""Registers classes of other libraries with gin, with the types of their parameters."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import gin
from gin import config as gin_config

from tf_frozen.config.gin_internals import registered


def external(kind: type, name: str, module: str, /, **types: Any) -> Callable[..., Any]:
    """Registers with gin a function that makes a `kind`; `types` are those of parameters, as if annotated with them."""

    def make(*args: Any, **kwargs: Any) -> Any:
        return kind(*args, **kwargs)

    make.__name__ = make.__qualname__ = name
    make.__doc__, make.__module__ = kind.__doc__, kind.__module__
    make.__signature__ = inspect.signature(kind)
    make.__annotations__ = {**types, "return": kind}
    return gin.configurable(name, module=module)(make)


def is_external(configurable: gin_config.Configurable) -> bool:
    """Returns whether `external` registered a configurable."""
    return inspect.isfunction(configurable.wrapped) and hasattr(configurable.wrapped, "__signature__")


def external_of(kind: type) -> gin_config.Configurable | None:
    """Returns what `external` registered to make a class; None where it did not."""
    externals = (known for known in registered() if is_external(known))
    return next((known for known in externals if known.wrapped.__annotations__["return"] is kind), None)
