"""Layers and models whose constructor arguments are their configuration."""

from __future__ import annotations

import inspect
from typing import Any

from tf_frozen.keras_flavor import keras


class Configured:
    """Mixed in before a Keras class whose every constructor argument is kept in the attribute of that name.

    So `get_config` and `from_config` need no writing.
    """

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
