"""Reads the constructor arguments of an object, which are its configuration."""

from __future__ import annotations

import functools
import inspect
from typing import Any

from tf_frozen.errors import ConfigError
from tf_frozen.keras_flavor import keras

_OF_EVERY_LAYER = frozenset(("name", "trainable", "dtype", "dynamic"))


def arguments(value: Any) -> dict[str, Any]:
    """The arguments that would construct an equal object, by name, without those of every Keras layer, such as `name`.

    A Keras object says them by `get_config`; any other keeps each in the attribute of its name, as scikit-learn's
    estimators do. Raises ConfigError where such an attribute is missing.
    """
    defaults = parameters(type(value))
    if not hasattr(value, "get_config"):
        return {name: kept(value, name) for name in defaults}
    config = value.get_config()
    return {name: _object(value, name, config[name]) for name in defaults if name in config}


@functools.cache
def parameters(kind: type, below: type = object) -> dict[str, Any]:
    """The parameters of a class's constructor with their defaults, of base classes too where it takes `**kwargs`.

    Base classes are followed up to `below`, whose own are not among them.
    """
    found: dict[str, Any] = {}
    for base in kind.__mro__:
        if base is below or not issubclass(base, below):
            break
        if "__init__" not in vars(base):
            continue
        own = list(inspect.signature(base.__init__).parameters.values())[1:]
        named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        found = {**{each.name: each.default for each in own if each.kind in named}, **found}
        if all(each.kind is not inspect.Parameter.VAR_KEYWORD for each in own):
            break
    return {name: default for name, default in found.items() if name not in _OF_EVERY_LAYER}


def kept(value: Any, name: str) -> Any:
    """The constructor argument that an object keeps; ConfigError where it has no attribute of that name."""
    if not hasattr(value, name):
        kind = type(value).__name__
        raise ConfigError(
            f"{kind} has an argument {name!r} and no attribute of that name, so its configuration cannot be written. "
            f"Keep it: self.{name} = {name}."
        )
    return getattr(value, name)


def _object(value: Any, name: str, entry: Any) -> Any:
    """An entry of `get_config`; where that describes layers, the layers: to make one again may read its weights."""
    kept = getattr(value, name, None)
    layers = kept if isinstance(kept, list | tuple) else [kept]
    return kept if layers and all(isinstance(layer, keras.layers.Layer) for layer in layers) else entry
