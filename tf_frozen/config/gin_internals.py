"""The private parts of gin that the library uses, each behind a function; setup.py pins the version of gin."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from gin import config as gin_config


def registered() -> list[gin_config.Configurable]:
    """All classes and functions that gin can configure."""
    return [configurable for _, configurable in gin_config._REGISTRY.items()]


def matching(selector: str) -> list[gin_config.Configurable]:
    """Those whose name ends in `selector`, a part of the name from a dot on; the one of that full name alone."""
    return gin_config._REGISTRY.get_all_matches(selector)


def configurable_of(kind: Callable) -> gin_config.Configurable | None:
    """What a class or function is registered as; None where it is not."""
    return gin_config._inverse_lookup(kind)


def shortest_selector(configurable: gin_config.Configurable) -> str:
    """The shortest name of a configurable that no other has."""
    return gin_config.ImportManager(()).minimal_selector(configurable)


def construction(configurable: gin_config.Configurable) -> Callable[..., Any]:
    """The function that takes the parameters: the configurable itself, or how its class is constructed."""
    function = configurable.wrapped
    return gin_config._find_class_construction_fn(function) if inspect.isclass(function) else function


def is_literal(value: Any) -> bool:
    """Whether gin can write a value so that it reads the same again."""
    return gin_config._is_literally_representable(value)


def unbind_parameter(scope: str, selector: str, parameter: str) -> None:
    """Reverses `gin.bind_parameter`."""
    values = gin_config._CONFIG[scope, selector]
    del values[parameter]
    if not values:
        del gin_config._CONFIG[scope, selector]


def received() -> Mapping[tuple[str, str], Mapping[str, Any]]:
    """The parameters that calls received, by scope and selector; gin's own record, which goes on changing."""
    return gin_config._OPERATIVE_CONFIG


def imported_modules() -> set[str]:
    """The modules that the configuration imports."""
    return {statement.module for statement in gin_config._IMPORTS}


def containers() -> tuple[dict | set, ...]:
    """Gin's own containers of all that it keeps of one configuration: changing them changes the configuration."""
    return gin_config._CONFIG, gin_config._OPERATIVE_CONFIG, gin_config._SINGLETONS, gin_config._IMPORTS


def set_locked(locked: bool) -> None:
    """Locks or unlocks the configuration. `gin.unlock_config` leaves it unlocked after an error."""
    gin_config._set_config_is_locked(locked)
