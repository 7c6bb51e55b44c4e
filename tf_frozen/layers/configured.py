"""Layers and models whose constructor arguments are their configuration."""

from __future__ import annotations

import functools
import inspect
import operator
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from tf_frozen.config.value_types import fault, fits, parameter_types
from tf_frozen.errors import ConfigError
from tf_frozen.keras_flavor import keras


class Configured:
    """Mixed in before a Keras class whose every constructor argument is kept in the attribute of that name.

    So `get_config` and `from_config` need no writing. An argument that is not of its annotated type is a ConfigError,
    and so is a layer or a symbolic tensor of another Keras, as argument and as input: Keras 2 would take it, and track
    none of its variables.
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Configured:
        """Checks the arguments before the constructor, which may convert them, takes them."""
        _check_types(cls, args, kwargs)
        return super().__new__(cls, *args, **kwargs)

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_"):  # Keras's own, some of which TensorFlow can't flatten
            _check_flavor(value, f"{type(self).__name__}.{name}")
        super().__setattr__(name, value)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the layer; see its `call`."""
        _check_flavor((args, kwargs), f"the input of {type(self).__name__}")
        return super().__call__(*args, **kwargs)

    def get_config(self) -> dict[str, Any]:
        """Every constructor argument; layers among them in Keras's serialized form."""
        own = {name: _to_config(getattr(self, name)) for name in _arguments(type(self))}
        return {"name": self.name, **super().get_config(), **own}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Configured:
        """The layer that `get_config` described."""
        own = _arguments(cls)
        return cls(**{name: _from_config(value) if name in own else value for name, value in config.items()})


class ConfiguredLayer(Configured, keras.layers.Layer):
    """A layer that keeps each constructor argument in the attribute of that name."""


def _arguments(kind: type) -> list[str]:
    parameters = inspect.signature(kind.__init__).parameters.values()
    return [p.name for p in parameters if p.name != "self" and p.kind is not inspect.Parameter.VAR_KEYWORD]


def _check_flavor(value: Any, where: str) -> None:
    """Raises ConfigError for what another Keras made, alone or in a structure."""
    for item in tf.nest.flatten(value):
        # No import of the other Keras: it takes a second, and may not be there.
        bases = [f"{base.__module__}.{base.__qualname__}" for base in type(item).__mro__]
        foreign = [base for base in bases if base.startswith("keras.")]
        if foreign:
            raise ConfigError(
                f"{where} is a {type(item).__name__} of another Keras ({foreign[0]}). tf_frozen is built on Keras 2: "
                f"make it with `from tf_frozen.keras_flavor import keras`, which is the package tf_keras."
            )


@functools.cache
def _annotated(kind: type) -> dict[str, Any]:
    """Returns the types of the constructor arguments, which a class may hand on to the classes that it extends."""
    own = [parameter_types(base.__init__) for base in reversed(kind.__mro__) if Configured in base.__mro__]
    return functools.reduce(operator.or_, own)


def _check_types(kind: type, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Raises ConfigError for a constructor argument that is not of its annotated type."""
    types = _annotated(kind)
    for name, value in [*zip(_arguments(kind), args, strict=False), *kwargs.items()]:
        if not fits(value, types.get(name, Any)):
            raise ConfigError(fault(f"{kind.__name__}.{name}", value, types[name]))


def _to_config(value: Any) -> Any:
    if isinstance(value, keras.layers.Layer):
        return keras.layers.serialize(value)
    if isinstance(value, (list, tuple)):
        return [_to_config(item) for item in value]
    return value


def _from_config(value: Any) -> Any:
    if isinstance(value, dict) and {"class_name", "config"} <= set(value):
        return keras.layers.deserialize(value)
    if isinstance(value, list):
        return [_from_config(item) for item in value]
    return value
