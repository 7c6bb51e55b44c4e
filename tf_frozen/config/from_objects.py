"""Translates objects made in Python into gin bindings, with a separate scope for each object."""

from __future__ import annotations

import functools
import importlib.util
import inspect
import numbers
import sys
from collections.abc import Callable, Mapping
from typing import Any

import gin
import numpy as np
from gin import config as gin_config

from tf_frozen.config.arguments import arguments, parameters
from tf_frozen.config.bindings import Binding, bind, effective
from tf_frozen.config.checked import named
from tf_frozen.config.external import external_of
from tf_frozen.config.gin_internals import configurable_of, is_literal, shortest_selector
from tf_frozen.errors import ConfigError
from tf_frozen.keras_flavor import keras

_LIBRARY = "tf_frozen"


def gin_value(value: Any, scope: str, where: str) -> Any:
    """A gin value for `value`: literals as they are, for an object, class, function or partial a reference.

    What a reference calls, and with what, is bound in `scope`: for `RCNN` in the scope 'detector' there will be
    'detector/RCNN.backbone = @detector/backbone/EfficientNetLite()'. Raises ConfigError, which begins with `where`, for
    what gin does not know or cannot write.
    """
    if isinstance(value, Mapping):
        made = _described(value)
        if made is not None:
            return constructed(made, scope, where, evaluate=True)
        return {key: gin_value(item, f"{scope}/{key}", f"{where}[{key!r}]") for key, item in value.items()}
    if isinstance(value, list | tuple):
        kind = tuple if isinstance(value, tuple) else list  # Keras wraps tracked lists in a subclass
        return kind(gin_value(item, f"{scope}_{i}", f"{where}[{i}]") for i, item in enumerate(value))
    if isinstance(value, np.ndarray):
        return gin_value(value.tolist(), scope, where)
    if value is None or isinstance(value, str | numbers.Number | np.bool_):
        return _literal(value.item() if isinstance(value, np.generic) else value, where)
    if isinstance(value, functools.partial):
        return _reference(value.func, named(value.func, value.args, value.keywords), scope, where, evaluate=False)
    if inspect.isclass(value) or inspect.isroutine(value):
        return _reference(value, {}, "", where, evaluate=False)
    return constructed(value, scope, where, evaluate=True)


def constructed(value: Any, scope: str, where: str, evaluate: bool) -> gin_config.ConfigurableReference:
    """A reference that constructs an object equal to `value`, now if `evaluate`, else when it is called."""
    known = _configurable(type(value), where)
    given = arguments(value)
    defaults = _defaults(type(value))
    bound = {key[2] for key in effective(scope, known.selector)}
    given = {name: each for name, each in given.items() if name in bound or not _same(each, defaults[name])}
    return _reference(type(value), given, scope, where, evaluate)


def _reference(
    kind: Callable, given: Mapping[str, Any], scope: str, where: str, evaluate: bool
) -> gin_config.ConfigurableReference:
    known = _configurable(kind, where)
    gin.parse_config(f"import {_module(known, where)}")
    name = shortest_selector(known)
    for parameter, value in given.items():
        place = f"{name}.{parameter}"
        literal = gin_value(value, f"{scope}/{parameter}", f"{where}: {place}")
        text = f"{scope}/{place} = {literal}"
        bind((scope, known.selector, parameter), Binding(f"{scope}/{place}", literal, "Python", text))
    return gin_config.ConfigurableReference(f"{scope}/{name}" if scope else name, evaluate)


def _configurable(kind: Callable, where: str) -> gin_config.Configurable:
    known = _known(kind)
    if known is None:
        what = f"the function {kind.__qualname__}" if inspect.isroutine(kind) else f"the class {kind.__qualname__}"
        raise ConfigError(
            f"{where} needs {what} of the module {kind.__module__}, which config.gin cannot name, so that no command "
            f"could open the run. Decorate it with @gin.configurable, in a module that can be imported."
        )
    return known


def _known(kind: Callable) -> gin_config.Configurable | None:
    return configurable_of(kind) or external_of(kind)


def _module(known: gin_config.Configurable, where: str) -> str:
    """The module, of this library the package, whose import registers a configurable; it is checked that it exists."""
    module = known.module if known.module == known.wrapped.__module__ else _holder(known)
    if module and module.startswith(f"{_LIBRARY}."):
        return module
    if module in (None, "__main__") or importlib.util.find_spec(module) is None:
        raise ConfigError(
            f"{where} needs {known.wrapped.__qualname__}, which is defined in {module or 'no module'}, so that no "
            f"command could open the run. Define it in a module that can be imported: a .py file on PYTHONPATH."
        )
    return module


def _holder(known: gin_config.Configurable) -> str | None:
    """The module that keeps a class of another library as gin registered it, one of this library first."""
    rank = {name: (name == "__main__", not name.startswith(_LIBRARY)) for name in sys.modules}
    for name in sorted(rank, key=rank.__getitem__):
        held = list(vars(sys.modules[name] or object).values())
        if any(each is known.wrapper for each in held):
            return name
    return None


def _defaults(kind: type) -> dict[str, Any]:
    """Returns the defaults of a class's arguments; for a Keras class of another library as in its `get_config`."""
    found = parameters(kind)
    if kind.__module__.startswith(keras.__name__) and inspect.Parameter.empty not in found.values():
        return {**found, **kind().get_config()}
    return found


def _same(value: Any, default: Any) -> bool:
    """Whether a value is the default, and of its type: True is not 1. A list may be a tuple."""
    return repr(_tuples(value)) == repr(_tuples(default))


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list | tuple) else value


def _described(value: Mapping) -> Any:
    """Returns the object of a Keras config if gin knows its class, as that of a schedule; else None."""
    if not {"class_name", "config"} <= value.keys():
        return None
    made = keras.saving.deserialize_keras_object(dict(value))
    return made if _known(type(made)) else None


def _literal(value: Any, where: str) -> Any:
    if not is_literal(value):
        raise ConfigError(f"{where} is {value!r}, which config.gin cannot hold. Give a finite number or a string.")
    return value
