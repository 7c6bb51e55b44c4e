"""Loads gin's configuration from files and parameters. Importing this module does not import TensorFlow."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

from tf_frozen.config.gin_files import find
from tf_frozen.config.reading import read


def load_config(gin_files: Sequence[str], gin_params: Sequence[str] = ()) -> None:
    """Replaces gin's configuration by that of files, then of single bindings; what comes later wins.

    A file is named by its path or by its name among the shipped ones. Relative paths in the four data macros
    are made absolute. Raises ConfigError with the place and the nearest right names.
    """
    read((find(name, pathlib.Path()) for name in gin_files), gin_params)
