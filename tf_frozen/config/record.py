"""The configuration that is saved in a run's folder: config.gin and operative_config.gin."""

from __future__ import annotations

import os
import pathlib

import gin

from tf_frozen.config.imports import with_packages
from tf_frozen.config.unused import drop_needed_only_by, out_of_use
from tf_frozen.errors import RunError
from tf_frozen.files import write_atomic


def config_of(model_dir: str | os.PathLike) -> str:
    """The path of a run's configuration; RunError where there is none."""
    path = pathlib.Path(model_dir, "config.gin").expanduser()
    if not path.is_file():
        raise RunError(f"{model_dir} holds no run: it has no config.gin. `tf-frozen train` makes them.")
    return str(path)


def save_config(model_dir: str) -> None:
    """Writes config.gin, all bindings, and operative_config.gin, the values used; RunError when it cannot.

    Bindings of parts that later ones replaced are dropped: who opens the run need not give the values they ask for.
    """
    drop_needed_only_by(out_of_use())
    texts = {"config.gin": gin.config_str, "operative_config.gin": gin.operative_config_str}
    for name, text in texts.items():
        write_atomic(os.path.join(model_dir, name), with_packages(text(max_line_length=110)))
