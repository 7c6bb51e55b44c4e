"""Keeps the checkpoint that scored best while a run trained."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tf_frozen.files import sync, write_error
from tf_frozen.training.checkpoint_contents import fault
from tf_frozen.training.run_directory import RunDirectory

_LOGGER = logging.getLogger(__name__)


class Best:
    """Keeps a copy of the best checkpoint in `model_dir`/best, where newer ones do not replace it.

    `record` says which it is: {step, metric, value, images} and `since`, the scores since then; None before the first.
    It is written when the copy is whole, so that a killed run keeps the best that it had.
    """

    def __init__(self, model_dir: str | Path):
        self._directory = RunDirectory(model_dir)
        self._folder = self._directory.best
        self.record = self._directory.best_record()

    @property
    def path(self) -> str | None:
        """The best checkpoint; None where there is none, and with a warning where it cannot be read."""
        if self.record is None:
            return None
        path = self._folder / f"ckpt-{self.record['step']}"
        is_there = path.with_name(path.name + ".index").is_file()
        why = fault(str(path)) if is_there else ""
        if is_there and not why:
            return str(path)
        what = f"is damaged ({why})" if why else "is gone"
        _LOGGER.warning("The best checkpoint, %s, %s: the latest one is used instead.", path, what)
        return None

    def forget(self) -> None:
        """Removes the copy and the record, for a run that begins again."""
        self.record = None
        shutil.rmtree(self._folder, ignore_errors=True)

    def offer(self, save: Callable[[], str], step: int, metric: str, value: float | None, images: int) -> bool:
        """Keeps what `save()` writes if the score of `step` is the best so far or as good; returns whether it is.

        None, a missing score, is never better. Scores of another metric or on another number of images are not
        compared; the new one is kept. Raises RunError where the copy cannot be written.
        """
        before = self.record
        comparable = before is not None and (before["metric"], before["images"]) == (metric, images)
        if value is None or comparable and value < before["value"]:
            if before is not None:
                self._write({**before, "since": before["since"] + 1})
            return False
        self._copy(save())
        self._write({"step": step, "metric": metric, "value": value, "images": images, "since": 0})
        for old in self._folder.glob("ckpt-*"):
            if not old.name.startswith(f"ckpt-{step}."):
                old.unlink()
        return True

    def _copy(self, checkpoint: str) -> None:
        source = Path(checkpoint)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            # The index comes last: without it TensorFlow sees no checkpoint.
            for file in sorted(source.parent.glob(f"{source.name}.*")):
                copied = shutil.copyfile(file, self._folder / f"{file.name}.part")
                sync(copied)
                os.replace(copied, self._folder / file.name)
        except OSError as error:
            needed = sum(file.stat().st_size for file in source.parent.glob(f"{source.name}.*"))
            raise write_error(str(self._folder), error, needed) from error

    def _write(self, record: dict[str, Any]) -> None:
        self._directory.write_best(record)
        self.record = record
