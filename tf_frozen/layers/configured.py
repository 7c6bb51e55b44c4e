"""Layers whose constructor arguments are their configuration."""

from __future__ import annotations

import inspect
from typing import Any

from tf_frozen.keras_flavor import keras


class ConfiguredLayer(keras.layers.Layer):
    """A layer that keeps each constructor argument in the attribute of that name, so `get_config` needs no writing."""

    def get_config(self) -> dict[str, Any]:
        """Every constructor argument; layers among them in Keras's serialized form."""
        arguments = inspect.signature(type(self).__init__).parameters.values()
        names = [a.name for a in arguments if a.name != "self" and a.kind is not inspect.Parameter.VAR_KEYWORD]
        return {**super().get_config(), **{name: _to_config(getattr(self, name)) for name in names}}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> ConfiguredLayer:
        """The layer that `get_config` described."""
        return cls(**{name: _from_config(value) for name, value in config.items()})


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
