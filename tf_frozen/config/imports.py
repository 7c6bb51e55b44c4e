"""Imports in gin files: a package of tf_frozen stands for all modules in it, so that these can move.

The packages do not import their modules themselves: Python users often need one that does not import TensorFlow.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from types import ModuleType

from tf_frozen.config.gin_internals import imported_modules
from tf_frozen.config.suggest import did_you_mean
from tf_frozen.errors import ConfigError

_STATEMENTS = re.compile(r"^(?:import|from) .*\n", re.MULTILINE)


def import_all(name: str) -> None:
    """Imports a module; one of tf_frozen with all modules of its package.

    Raises ConfigError when it, or a module that it needs, does not exist.
    """
    _import(name)
    package = package_of(name)
    if package.startswith("tf_frozen."):
        path = getattr(_import(package), "__path__", ())
        for module in pkgutil.walk_packages(path, f"{package}."):
            _import(module.name)


def package_of(module: str) -> str:
    """Returns the package that a module of tf_frozen is in, such as tf_frozen.necks; any other module as it is."""
    return ".".join(module.split(".")[:2]) if module.startswith("tf_frozen.") else module


def with_packages(text: str) -> str:
    """Returns a configuration that gin has written with packages for modules in its imports, and without aliases."""
    modules = sorted({package_of(module) for module in imported_modules()})
    imports = "".join(f"import {module}\n" for module in modules)
    return f"{imports}\n{_STATEMENTS.sub('', text).lstrip()}" if modules else text


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if not f"{name}.".startswith(f"{missing}."):
            raise ConfigError(f"{name} needs the module '{missing}', which is not installed.") from error
        raise ConfigError(f"There is no module '{missing}'.{_advice(missing)}") from error


def _advice(missing: str) -> str:
    """Returns what to import instead of a module that does not exist."""
    parent = missing.rpartition(".")[0]
    path = importlib.import_module(parent).__path__ if parent else None
    beside = [f"{parent}.{found.name}".lstrip(".") for found in pkgutil.iter_modules(path)]
    nearest = did_you_mean(missing, beside)
    package = package_of(missing)
    if package != missing:
        return f"{nearest} Import the package, in which modules may move: import {package}"
    return nearest or " If it is your own, put its folder on PYTHONPATH."
