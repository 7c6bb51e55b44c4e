"""An experiment: gin's configuration, made of files and parameters, and kept in a run directory.

`load` and `load_run` replace the configuration of the whole process. Importing this module does not import TensorFlow.
"""

from __future__ import annotations

import json
import os
import pathlib
from collections.abc import Sequence

import gin

from tf_frozen.config import bindings
from tf_frozen.config.computed import pin_computed
from tf_frozen.config.explained import explained
from tf_frozen.config.imports import with_packages
from tf_frozen.config.reading import read
from tf_frozen.config.unused import drop_needed_only_by, out_of_use, report_unused, unused_bindings
from tf_frozen.errors import ConfigError, RunError
from tf_frozen.files import write_atomic
from tf_frozen.gin_files import find
from tf_frozen.gin_files import read as read_file

__all__ = [
    "config_of",
    "explained",
    "load",
    "load_run",
    "pin_computed",
    "pin_macro",
    "report_unused",
    "save",
    "unused_bindings",
]

_WITHOUT_PRETRAINED = {"frozen": "frozen_random", "fine_tune": "scratch"}


def load(gin_files: Sequence[str], gin_params: Sequence[str] = ()) -> None:
    """Makes gin's configuration of files, then of single bindings; what comes later wins.

    A file is named by its path or by its name among the shipped ones. Relative paths in the four data macros
    are made absolute. Raises ConfigError with the place and the nearest right names.
    """
    read((find(name, pathlib.Path()) for name in gin_files), gin_params)


def load_run(model_dir: str, gin_params: Sequence[str] = ()) -> None:
    """Makes gin's configuration of what `save` left in `model_dir`, then of bindings; RunError without it.

    Where the run's checkpoints hold all of the backbone, its mode becomes the one that starts from random weights: the
    file that the pretrained ones came from may be gone. Where they leave weights out, these are read from there again,
    and so is a SavedModel, whose graph no checkpoint holds.
    """
    path = pathlib.Path(config_of(model_dir))
    read([read_file(path)], gin_params)
    mode = bindings.macro("BACKBONE_MODE")
    backbone = bindings.macro("BACKBONE")
    if backbone is not None and "SavedModelBackbone" in str(backbone.value):
        return
    if mode is not None and str(mode.value) in _WITHOUT_PRETRAINED and _hold_all(path.parent):
        gin.bind_parameter(("BACKBONE_MODE", bindings.MACRO, "value"), _WITHOUT_PRETRAINED[str(mode.value)])


def config_of(model_dir: str | os.PathLike) -> str:
    """The path of a run's configuration; RunError where there is none."""
    path = pathlib.Path(model_dir, "config.gin").expanduser()
    if not path.is_file():
        raise RunError(f"{model_dir} holds no run: it has no config.gin. `tf-frozen train` makes them.")
    return str(path)


def _hold_all(model_dir: pathlib.Path) -> bool:
    """Whether the checkpoints of a run are known to leave no variable out."""
    try:
        freezing = json.loads((model_dir / "freezing.json").read_text(encoding="utf-8"))
        return freezing["left_out"]["variables"] == 0
    except (OSError, ValueError, LookupError, TypeError):  # a command that needs this file says so itself
        return False


def save(model_dir: str) -> None:
    """Writes config.gin, all bindings, and operative_config.gin, the values used; RunError when it cannot.

    Bindings of parts that later ones replaced are dropped: who opens the run need not give the values they ask for.
    """
    drop_needed_only_by(out_of_use())
    texts = {"config.gin": gin.config_str, "operative_config.gin": gin.operative_config_str}
    for name, text in texts.items():
        write_atomic(os.path.join(model_dir, name), with_packages(text(max_line_length=110)))


def pin_macro(name: str, value: int, meaning: str) -> None:
    """Gives a macro of the configuration the value that it turned out to have; nothing without the macro.

    Raises ConfigError when the configuration states another number; `meaning` says what the value is.
    """
    binding = bindings.macro(name)
    if binding is None:
        return
    if isinstance(binding.value, int) and binding.value != value:
        advice = f"Give the right one with `gin_params` '{name} = {value}'"
        raise ConfigError(f"{binding.where}: {name} is {binding.value}, but {meaning} is {value}. {advice}")
    gin.bind_parameter((name, bindings.MACRO, "value"), value)
