"""The list of a run's checkpoints: which of the files in a folder count, and which are lost.

A checkpoint counts if TensorFlow's list, the file `checkpoint`, names it. So does the one that the file `saving` names:
the run was killed after it wrote that checkpoint and before it listed it. Where the list is missing or cannot be read,
every complete checkpoint counts.
"""

from __future__ import annotations

import glob
import logging
import os
import re
import time

import tensorflow as tf

from tf_frozen.files import sync

SAVING = "saving"
_LIST = "checkpoint"
_LOGGER = logging.getLogger(__name__)


class CheckpointList:
    """Reads and writes the list of checkpoints in `directory`; checkpoints are paths without .index."""

    def __init__(self, directory: str):
        self._directory = directory

    def usable(self) -> list[str]:
        """The complete checkpoints that count, oldest step first."""
        complete = complete_checkpoints(self._directory)
        listed = self._listed()
        return complete if listed is None else [path for path in complete if path in {*listed, self._saving()}]

    def lost(self) -> dict[str, str]:
        """For each checkpoint that was complete and is not any more, which files of it are missing."""
        complete = complete_checkpoints(self._directory)
        # TensorFlow writes the index last.
        started = [path.removesuffix(".index") for path in _paths(self._directory, "ckpt-*.index")]
        known = {path for path in [*(self._listed() or []), *started] if step_in_name(path) >= 0}
        gone = sorted(known - {*complete, self.unfinished()}, key=step_in_name)
        return {path: " and ".join(_missing(path)) for path in gone}

    def unfinished(self) -> str | None:
        """The checkpoint that a killed save was writing, which may be complete or damaged."""
        return self._saving() if self._saving() not in (self._listed() or []) else None

    def warn(self, used: str | None) -> None:
        """Logs where the list cannot be read, and which newer checkpoints than the one used are skipped."""
        step = step_in_name(used) if used else -1
        instead = f"{os.path.basename(used)} is used" if used else "no other is left"
        if self._listed() is None and used and used != self._saving():
            names = ", ".join(map(os.path.basename, self.usable()))
            _LOGGER.warning(
                "%s cannot be read; every complete checkpoint beside it counts: %s.", self._path(_LIST), names
            )
        for path, missing in self.lost().items():
            if step_in_name(path) > step:
                _LOGGER.warning("Checkpoint %s has lost its files %s; %s.", path, missing, instead)
        usable = self.usable()
        for path in complete_checkpoints(self._directory):
            if step_in_name(path) > step and path not in usable:
                _LOGGER.warning(
                    "Checkpoint %s is not in the run's list (%s) and is skipped; %s.",
                    path, self._path(_LIST), instead,
                )  # fmt: skip

    def begin(self, path: str) -> None:
        """Notes on the disk that `path` is about to be written."""
        with open(self._path(SAVING), "w", encoding="utf-8") as file:
            file.write(os.path.basename(path))
            file.flush()
            os.fsync(file.fileno())

    def finish(self) -> None:
        """Ends what `begin` started: the list now names the checkpoint."""
        sync(self._path(_LIST))
        os.remove(self._path(SAVING))

    def rewrite(self) -> None:
        """Makes the list name what is usable, where it does not."""
        usable = self.usable()
        if not usable or self._listed() == usable:
            return
        times = [os.path.getmtime(f"{path}.index") for path in usable]
        usable = [os.path.abspath(path) for path in usable]
        tf.__internal__.train.update_checkpoint_state(
            self._directory,
            usable[-1],
            usable,
            save_relative_paths=True,
            all_model_checkpoint_timestamps=times,
            last_preserved_timestamp=min([*times, time.time()]) - 1,  # the manager forgets what is older
        )

    def _listed(self) -> list[str] | None:
        try:
            state = tf.train.get_checkpoint_state(self._directory)
        except ValueError:  # an empty file, or bytes that are not UTF-8
            return None
        return state and [self._path(os.path.basename(path)) for path in state.all_model_checkpoint_paths]

    def _saving(self) -> str | None:
        try:
            with open(self._path(SAVING), encoding="utf-8") as file:
                return self._path(file.read())
        except (OSError, ValueError):
            return None

    def _path(self, name: str) -> str:
        return os.path.join(self._directory, name)


def complete_checkpoints(directory: str) -> list[str]:
    """Paths (without .index) of the checkpoints in a folder that have all their files, oldest step first."""
    paths = [path.removesuffix(".index") for path in _paths(directory, "ckpt-*.index")]
    return sorted((p for p in paths if step_in_name(p) >= 0 and not _missing(p)), key=step_in_name)


def step_in_name(path: str) -> int:
    """120 of a path that ends in ckpt-120; -1 of any other name."""
    match = re.fullmatch(r"ckpt-(\d+)", os.path.basename(path))
    return int(match.group(1)) if match else -1


def _missing(path: str) -> list[str]:
    return [part for part in (".index", ".data-*") if not glob.glob(glob.escape(path) + part)]


def _paths(directory: str, pattern: str) -> list[str]:
    return glob.glob(os.path.join(glob.escape(directory), pattern))
