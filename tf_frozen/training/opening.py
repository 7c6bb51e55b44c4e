"""Opens runs from gin files or from their folder, each with a separate gin configuration."""

from __future__ import annotations

import os
from collections.abc import Sequence

from tf_frozen import experiment
from tf_frozen.config.configuration import Configuration
from tf_frozen.training.run import Run


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
        experiment.load([os.fspath(file) for file in files], gin_params)
        return Run(model_dir)


def open_run(model_dir: str | os.PathLike, gin_params: Sequence[str] = ()) -> Run:
    """The run in `model_dir`, started by the command or in Python; parameters replace its own.

    Raises RunError where the folder holds none.
    """
    return load(experiment.config_of(model_dir), gin_params, model_dir=os.fspath(model_dir))
