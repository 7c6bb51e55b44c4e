"""The configuration of a run: that of gin files, or the default recipe with parts that were made in Python."""

from __future__ import annotations

import contextlib
import functools
import inspect
import numbers
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import gin

from tf_frozen.config import bindings
from tf_frozen.config.bindings import Binding
from tf_frozen.config.checked import check_arguments
from tf_frozen.config.configuration import Configuration
from tf_frozen.config.explained import explained
from tf_frozen.config.from_objects import constructed, gin_value
from tf_frozen.config.gin_internals import configurable_of
from tf_frozen.config.load import load_config
from tf_frozen.config.required import DATA_MACROS
from tf_frozen.config.unused import drop_hidden, drop_needed_only_by
from tf_frozen.errors import ConfigError
from tf_frozen.log import shown

RECIPE = "runs/train_on_coco_json.gin"
_NEEDED = ("detector", "train_data", "val_data")


class KeepsConfiguration(type):
    """Metaclass of a class that gin configures: an instance keeps the configuration in which it was constructed.

    `configuration` is the active one, or that of the process if gin binds arguments of the class. Otherwise it is that
    of the recipe, in which the given arguments replace its own; gin supplies the others.
    """

    @property
    def __signature__(cls) -> inspect.Signature:
        own = inspect.signature(cls.__init__)
        return own.replace(parameters=list(own.parameters.values())[1:])

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        """Makes an instance in its configuration."""
        configuration = Configuration.current or _of_process(cls)
        if configuration is None:
            check_arguments(cls, args, kwargs)
            _, *given = inspect.signature(cls).bind(*args, **kwargs).arguments.items()  # all but the folder
            configuration = PythonConfiguration(cls, dict(given))
        with configuration.active(), explained():
            made = super().__call__(*args, **kwargs)
        made.configuration = configuration
        return made


def in_configuration(method: Callable) -> Callable:
    """Runs a method in the configuration of its object, explains gin's errors, and shows progress."""

    @functools.wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        with self.configuration.active(), explained(), shown():
            return method(self, *args, **kwargs)

    return call


class OfProcess(Configuration):
    """The configuration that `load_config` gave gin for the whole process."""

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """Changes nothing."""
        yield


class PythonConfiguration(Configuration):
    """The recipe's configuration, with given arguments of the class `kind`; raises ConfigError if some are missing.

    Numbers and strings are set as the macros that the recipe takes them from, so that TRAIN_STEPS reaches the schedule.
    """

    def __init__(self, kind: type, given: Mapping[str, Any]):
        super().__init__()
        missing = [name for name in _NEEDED if given.get(name) is None]
        if missing:
            raise ConfigError(f"{kind.__name__} needs {' and '.join(missing)}: an instance, or what makes one.")
        self._name, self._selector = kind.__name__, configurable_of(kind).selector
        self._objects: dict[str, Any] = {}
        with self.active():
            load_config([RECIPE])
            for name, value in given.items():
                self._place(name, value)
            drop_needed_only_by([self._key(name) for name in self._objects])
            self._give_data(given)

    def complete(self, made: Mapping[str, Any], strict: bool) -> None:
        """Binds the arguments, of which `made` has those that were callables as what they made.

        Raises ConfigError for what gin cannot write. Nothing is unused, so `strict` has no say.
        """
        before = set(bindings.bindings)
        for name, value in self._objects.items():
            where = f"{self._name}.{name}"
            if name in made:
                bound: Any = constructed(made[name], name, where, evaluate=False)
            else:
                bound = gin_value(value, name, where)
            bindings.bind(self._key(name), Binding(where, bound, "Python", f"{where} = {bound}"))
        drop_hidden(set(bindings.bindings) - before)

    def _key(self, name: str) -> bindings.Key:
        return ("", self._selector, name)

    def _place(self, name: str, value: Any) -> None:
        """Gives the value to the macro that the recipe takes it from, else keeps it for `complete`."""
        binding = bindings.bindings.get(self._key(name))
        macros = binding.macros() if binding else set()
        if macros and (value is None or isinstance(value, str | numbers.Number)):
            self._give(macros.pop(), value)
        else:
            self._objects[name] = value

    def _give_data(self, given: Mapping[str, Any]) -> None:
        """Gives the macros of the data that are still needed, as by a number computed from them, the files."""
        for macro in filter(bindings.macro, DATA_MACROS):
            split, _, what = macro.lower().partition("_")
            if hasattr(given[f"{split}_data"], what):
                self._give(macro, getattr(given[f"{split}_data"], what))

    def _give(self, macro: str, value: Any) -> None:
        bindings.bind((macro, bindings.MACRO, "value"), Binding(macro, value, "Python", f"{macro} = {value!r}"))


def _of_process(kind: type) -> Configuration | None:
    return OfProcess() if gin.get_bindings(kind, resolve_references=False) else None
