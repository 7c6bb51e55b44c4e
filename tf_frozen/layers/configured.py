"""Layers and models whose constructor arguments are their configuration."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import tensorflow as tf

from tf_frozen.config.arguments import kept, parameters
from tf_frozen.config.checked import Checked, named
from tf_frozen.config.serializable import from_config, to_config
from tf_frozen.errors import ConfigError
from tf_frozen.keras_flavor import keras


class Configured(Checked):
    """Mixin, listed before a Keras class: each constructor argument is kept in the attribute of that name.

    So `get_config` and `from_config` are inherited; `**kwargs` are followed to the base classes. Raises ConfigError for
    an argument that is not of its annotated type, and for objects of another Keras, as argument or input: Keras 2 would
    accept them and track none of their variables. Layers inside get the dtype policy of this one, and a model that
    Keras saves as .keras is restored with the `trainable` of each of them.
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Configured:
        """Checks the arguments before the constructor, which may convert them, takes them."""
        check_call(cls.__init__, args, kwargs, cls.__name__)
        return super().__new__(cls, *args, **kwargs)

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_"):  # Keras's own, some of which TensorFlow can't flatten
            check_argument(value, f"{type(self).__name__}.{name}")
        super().__setattr__(name, value)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the layer; see its `call`."""
        check_argument((args, kwargs), f"the input of {type(self).__name__}")
        with contextlib.nullcontext() if self.built else policy(self.dtype_policy):
            return super().__call__(*args, **kwargs)

    def get_config(self) -> dict[str, Any]:
        """Every constructor argument; layers among them in Keras's serialized form."""
        own = {name: to_config(self._argument(name)) for name in parameters(type(self), Configured)}
        return {"name": self.name, "dtype": self.dtype_policy.name, **super().get_config(), **own}

    def _argument(self, name: str) -> Any:
        """The constructor argument of that name, as it was given."""
        return kept(self, name)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Configured:
        """The layer that `get_config` described."""
        own = parameters(cls, Configured)
        arguments = {name: from_config(value) if name in own else value for name, value in config.items()}
        dtype = config.get("dtype") or keras.mixed_precision.global_policy()
        with policy(dtype["config"]["name"] if isinstance(dtype, dict) else dtype):
            return cls(**arguments)

    def get_build_config(self) -> dict[str, Any]:
        """Returns what Keras saves beside the configuration: the input shape and `trainable` of the layers inside."""
        return {**(super().get_build_config() or {}), "trainable": [layer.trainable for layer in _inside(self)]}

    def build_from_config(self, config: dict[str, Any]) -> None:
        """Makes the variables, and sets what is trainable, as they were when the layer was saved."""
        if "input_shape" in config and not self.built:
            with policy(self.dtype_policy):
                self.build(_levels(config["input_shape"]))
        layers, trainable = _inside(self), config.get("trainable", ())
        if len(layers) == len(trainable):  # others are made at the first call, by a model that holds this
            for layer, value in zip(layers, trainable, strict=True):
                layer.trainable = value  # and that of the layers inside, which come after it

    @property
    def _trackable_saved_model_saver(self) -> Any:
        # Keras asks for it to write a SavedModel that it could load again, and fails on the levels of a pyramid.
        raise ConfigError(
            f"{type(self).__name__} {self.name!r} cannot be in a SavedModel that Keras writes. Save the model as a "
            f".keras file, which keras.models.load_model reads, or write a SavedModel for serving by "
            f"model.export(folder)."
        )


class ConfiguredLayer(Configured, keras.layers.Layer):
    """A layer that keeps each constructor argument in the attribute of that name."""


@contextlib.contextmanager
def policy(value: Any) -> Iterator[None]:
    """Layers made within it have this dtype policy of Keras; Keras's own setting holds again after."""
    before = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy(value)
    try:
        yield
    finally:
        keras.mixed_precision.set_global_policy(before)


def check_call(method: Any, args: Sequence[Any], kwargs: Mapping[str, Any], where: str) -> None:
    """Raises ConfigError where an argument of a method, by position or by name, is what another Keras made."""
    for name, value in named(method, args, kwargs).items():
        check_argument(value, f"{where}.{name}")


def check_argument(value: Any, where: str) -> None:
    """Raises ConfigError for what another Keras made: objects, classes and functions.

    They are found alone, in a structure, and as a setting of what Keras 2 made, such as an optimizer's schedule.
    """
    for item, holder in _objects(value):
        # No import of the other Keras: it takes a second, and may not be there.
        made = [item] if inspect.isroutine(item) else inspect.getmro(item if isinstance(item, type) else type(item))
        foreign = [name for name in map(_full_name, made) if name.startswith("keras.")]
        if foreign:
            what = getattr(item, "__name__", type(item).__name__)
            held = f"{type(holder).__name__} with a " if holder is not None else ""
            raise ConfigError(
                f"{where} is a {held}{what} of another Keras ({foreign[0]}). tf_frozen is built on Keras 2: make it "
                f"with `from tf_frozen.keras_flavor import keras`, which is the package tf_keras."
            )


def _objects(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yields the items of a structure, each with the Keras object whose argument it is, if any; skips whole models."""
    seen, waiting = set(), [(value, None)]
    while waiting:
        item, holder = waiting.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, Mapping | list | tuple | set):
            waiting += [(each, holder) for each in (item.values() if isinstance(item, Mapping) else item)]
            continue
        yield item, holder
        if _is_of_keras(item):
            waiting += [(each, item) for each in vars(item).values()]


def _is_of_keras(item: Any) -> bool:
    """Whether Keras 2 itself made an object that has settings; its models are too large to search."""
    if isinstance(item, type | keras.Model) or not type(item).__module__.startswith("tf_keras."):
        return False
    return hasattr(item, "get_config") and hasattr(item, "__dict__")


def _full_name(made: Any) -> str:
    return f"{getattr(made, '__module__', '')}.{getattr(made, '__qualname__', '')}"


def _inside(layer: keras.layers.Layer) -> Sequence[keras.layers.Layer]:
    return list(layer._flatten_layers())  # noqa: SLF001 (there is no public way that keeps the order)


def _levels(shape: Any) -> Any:
    """The shape that `build` takes: JSON has no numbers for keys, so the levels of a pyramid became words."""
    if isinstance(shape, dict):
        return {int(level): tf.TensorShape(each) for level, each in shape.items()}
    return shape
