"""Exports runs as SavedModels, verifies these in a separate process, and predicts with them."""

from __future__ import annotations

import os
import sys
from types import ModuleType
from typing import Any


class _Package(ModuleType):
    """This package, which can be called: `tf_frozen.export(run, folder)` exports a run."""

    def __call__(self, run: Any, output: str | os.PathLike, checkpoint: str | None = None) -> str:
        """Writes the run's best checkpoint, or the one named, as a SavedModel, and returns its folder.

        Raises RunError where the run has no checkpoint, or `output` cannot be written or holds something else.
        """
        from tf_frozen.export.saved_model import export

        detector = run.restored_detector(checkpoint)
        return export(detector, run.categories, os.fspath(output), run.magnification)


sys.modules[__name__].__class__ = _Package
