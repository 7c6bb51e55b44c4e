"""Base class of objects whose constructor arguments are their configuration, as for Keras initializers."""

from __future__ import annotations

from typing import Any

from tf_frozen.config.arguments import kept, parameters
from tf_frozen.config.checked import Checked
from tf_frozen.keras_flavor import keras


class Serializable(Checked):
    """Keeps each constructor argument in the attribute of that name, which is read-only.

    Layers take such objects as arguments, and Keras saves them with the layer. Objects of one class with equal
    arguments are equal. Raises ConfigError for an argument that is not of its annotated type or out of range.
    """

    def get_config(self) -> dict[str, Any]:
        """Every constructor argument; objects among them in Keras's serialized form."""
        return {name: to_config(kept(self, name)) for name in parameters(type(self), Serializable)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Serializable:
        """The object that `get_config` described."""
        return cls(**{name: from_config(value) for name, value in config.items()})

    def __setattr__(self, name: str, value: Any) -> None:
        if name in vars(self):
            raise AttributeError(f"{type(self).__name__}.{name} cannot be changed: make another {type(self).__name__}.")
        super().__setattr__(name, value)

    def __eq__(self, other: Any) -> bool:
        return type(self) is type(other) and self.get_config() == other.get_config()

    def __hash__(self) -> int:
        return hash(repr(self))

    def __repr__(self) -> str:
        given = (f"{name}={kept(self, name)!r}" for name in parameters(type(self), Serializable))
        return f"{type(self).__name__}({', '.join(given)})"


def to_config(value: Any) -> Any:
    """An argument as JSON can hold it; objects that have a `get_config` in Keras's serialized form."""
    if hasattr(value, "get_config") and not isinstance(value, type):
        return keras.saving.serialize_keras_object(value)
    if isinstance(value, list | tuple):
        return [to_config(item) for item in value]
    return value


def from_config(value: Any) -> Any:
    """The argument that `to_config` described."""
    if isinstance(value, dict) and {"class_name", "config"} <= set(value):
        return keras.saving.deserialize_keras_object(value)
    if isinstance(value, list):
        return [from_config(item) for item in value]
    return value
