"""Opens runs from gin files or from their folder, each with a separate gin configuration."""

from __future__ import annotations

import os
from collections.abc import Sequence

import gin

from tf_frozen.config import bindings
from tf_frozen.config.configuration import Configuration
from tf_frozen.config.load import load_config
from tf_frozen.config.record import config_of
from tf_frozen.training.run import Run
from tf_frozen.training.run_directory import RunDirectory

_WITHOUT_PRETRAINED = {"frozen": "frozen_random", "fine_tune": "scratch"}


def load(
    gin_files: str | os.PathLike | Sequence[str | os.PathLike], gin_params: Sequence[str] = (), *, model_dir: str
) -> Run:
    """The run in `model_dir` that gin files and parameters describe, as `tf-frozen train` would make it.

    A file is named by its path or by its name among the shipped ones; what comes later wins. Raises ConfigError with
    the place and the nearest right names.
    """
    files = [gin_files] if isinstance(gin_files, str | os.PathLike) else gin_files
    configuration = Configuration()
    with configuration.active():
        load_config([os.fspath(file) for file in files], gin_params)
        return Run(model_dir)


def open_run(model_dir: str | os.PathLike, gin_params: Sequence[str] = ()) -> Run:
    """The run in `model_dir`, started by the command or in Python; parameters replace its own.

    Raises RunError where the folder holds none.
    """
    return load(config_of(model_dir), gin_params, model_dir=os.fspath(model_dir))


def load_run(model_dir: str | os.PathLike, gin_params: Sequence[str] = ()) -> None:
    """Replaces the configuration of the process by that of the run in `model_dir`, then of bindings.

    Where the run's checkpoints hold all of the backbone, its mode becomes the one that starts from random weights: the
    file that the pretrained ones came from may be gone. Where they exclude weights, these are read from there again,
    and so is a SavedModel, whose graph no checkpoint holds. Raises RunError where the folder holds no run.
    """
    load_config([config_of(model_dir)], gin_params)
    mode, backbone = bindings.macro("BACKBONE_MODE"), bindings.macro("BACKBONE")
    if mode is None or (backbone is not None and "SavedModelBackbone" in str(backbone.value)):
        return
    if str(mode.value) in _WITHOUT_PRETRAINED and RunDirectory(model_dir).left_out()["variables"] == 0:
        gin.bind_parameter(("BACKBONE_MODE", bindings.MACRO, "value"), _WITHOUT_PRETRAINED[str(mode.value)])
