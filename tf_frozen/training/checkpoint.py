"""Checkpoints of a run: written atomically, restored exactly, and verified before they are used."""

from __future__ import annotations

import contextlib
import glob
import logging
import os
import re
from collections.abc import Callable

import tensorflow as tf

from tf_frozen.errors import RunError
from tf_frozen.files import remove, sync, write_error
from tf_frozen.freezing.fingerprint import fingerprints
from tf_frozen.freezing.trained_weights import obtainable, sourced
from tf_frozen.freezing.variable_paths import variable_paths
from tf_frozen.keras_flavor import keras
from tf_frozen.training.checkpoint_contents import (
    check_finite,
    check_reachable,
    differences,
    fault,
    other_slots,
    saved_variables,
    step_of,
    without,
)
from tf_frozen.training.checkpoint_list import SAVING, CheckpointList, complete_checkpoints, step_in_name
from tf_frozen.training.left_out import LeftOut, check_same, described, read_left_out
from tf_frozen.training.run_directory import RunDirectory

HOLDS = ("trained", "everything")
_LOGGER = logging.getLogger(__name__)


class Checkpoints:
    """The last `keep` checkpoints in `model_dir`/checkpoints: detector, optimizer with its averages, step.

    The detector's variables must exist, with the values they were built with; an optimizer that has none yet gets
    them here. The step is `optimizer.iterations`, and gives a checkpoint its name: ckpt-120 is the state after 120
    steps. `holds` is 'everything' for all variables, or 'trained' to exclude frozen ones that can be reloaded from the
    source of the backbone's weights; each checkpoint then records their fingerprints and source. Where the policy
    changes during a run, `enter(step)` prepares the detector for a step and returns that step's optimizer.
    """

    def __init__(
        self,
        model_dir: str,
        detector: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        keep: int = 3,
        holds: str = "trained",
        enter: Callable[[int], keras.optimizers.Optimizer] | None = None,
    ):
        optimizer.build(detector.trainable_variables)
        self.directory = str(RunDirectory(model_dir).checkpoints)
        self._detector, self._optimizer = detector, optimizer
        self._list = CheckpointList(self.directory)
        self._keep, self._enter = keep, enter
        self._from_source = fingerprints(sourced(detector)) if holds == "trained" else {}
        self._root, self._left_out = without(detector, optimizer, ()), {}
        self._manager: tf.train.CheckpointManager | None = None
        self._obtainable_of: tuple[frozenset[int], dict[str, tf.Variable]] | None = None
        self._step_on_disk = None
        self._damaged: list[str] = []
        check_reachable(detector, self._root)

    def follow(self, optimizer: keras.optimizers.Optimizer) -> None:
        """Saves and restores that optimizer from now on."""
        if optimizer is not self._optimizer:
            self._optimizer, self._manager = optimizer, None
            self._root, self._left_out = without(self._detector, optimizer, ()), {}

    def left_out(self) -> dict[str, str]:
        """The fingerprints of what a checkpoint written now would exclude, by path."""
        if not self._from_source:
            return {}
        now = fingerprints(self._obtainable())
        # Values that trained for a while, or changed by mistake, cannot be reloaded from the source.
        return {path: value for path, value in now.items() if self._from_source.get(path) == value}

    def _obtainable(self) -> dict[str, tf.Variable]:
        """`obtainable`, whose walk through the detector takes as long as a save, once for what trains."""
        trained = frozenset(map(id, self._detector.trainable_variables))
        if self._obtainable_of is None or self._obtainable_of[0] != trained:
            self._obtainable_of = trained, obtainable(self._detector)
        return self._obtainable_of[1]

    def summary(self) -> dict[str, int | str | None]:
        """Returns the number of variables that a checkpoint written now would exclude, and their source."""
        return {"variables": len(self.left_out()), "source": described(self._detector)[0]}

    def save(self) -> str:
        """Writes the present state and returns its path; RunError if it is not finite or cannot be written."""
        step = int(self._optimizer.iterations.numpy())
        path = os.path.join(self.directory, f"ckpt-{step}")
        if step == self._step_on_disk:
            return path
        self._leave_out(self.left_out())
        variables = saved_variables(self._root)
        check_finite(variables, step)
        try:
            os.makedirs(self.directory, exist_ok=True)
            self._list.rewrite()
            _remove_partial(self.directory)
            self._write(step, path)
        except (tf.errors.OpError, OSError) as error:
            needed = sum(v.shape.num_elements() * v.dtype.size for v in variables.values())
            # Before what was written is removed, which makes room for another attempt.
            failure = write_error(path, error, needed, " (earlier checkpoints are intact)")
            with contextlib.suppress(OSError):
                _remove(path)
                _remove_partial(self.directory)
            self._manager = None
            raise failure from error
        self._step_on_disk = step
        return path

    def restore_latest(self) -> int:
        """Restores the newest readable checkpoint and returns its step, 0 when there is none to restore."""
        if os.path.exists(self.directory) and not os.path.isdir(self.directory):
            raise RunError(f"{self.directory} is a file; it must be the folder of the run's checkpoints. Remove it.")
        for path in reversed(self._list.usable()):
            why = fault(path)
            if not why:
                self._list.warn(used=path)
                return self._restore(path)
            _LOGGER.warning("Checkpoint %s is damaged and is skipped: %s", path, why)
            self._damaged.append(path)
        damaged = {path: "damaged" for path in self._damaged if path != self._list.unfinished()}
        missing = {path: f"without its files {files}" for path, files in self._list.lost().items()}
        if damaged or missing:
            found = [f"{os.path.basename(path)} {what}" for path, what in {**damaged, **missing}.items()]
            raise RunError(
                f"No checkpoint in {self.directory} can be read: {', '.join(found)}. Restore these files from a copy, "
                "or remove that folder to begin again from step 0."
            )
        self._list.warn(used=None)
        return 0

    def restore(self, path: str) -> int:
        """Restores the checkpoint of that path, or of that name (ckpt-120) in this run; returns its step."""
        path = re.sub(r"\.(index|data-\d+-of-\d+)$", "", path)
        candidates = [path, os.path.join(self.directory, path)]
        found = next((c for c in candidates if os.path.exists(c + ".index")), None)
        names = [os.path.basename(p) for p in complete_checkpoints(self.directory)]
        names = f"{self.directory} holds {', '.join(names) or 'none'}."
        if found is None:
            raise RunError(f"There is no checkpoint {path!r}; {names}")
        why = fault(found)
        if why:
            raise RunError(f"Checkpoint {found} is damaged: {why}. Choose another one; {names}")
        return self._restore(found)

    def _restore(self, path: str) -> int:
        record = read_left_out(path)
        if record:
            check_same(path, record, self._detector, variable_paths(self._detector))
        if self._enter:
            # The optimizer of the checkpoint's last step.
            self.follow(self._enter(max(step_of(path) - 1, 0)))
        self._leave_out(record["fingerprints"] if record else {})
        variables = saved_variables(self._root)
        slots = other_slots(path, variables)
        if slots:
            raise RunError(
                f"Checkpoint {path} was written while other variables trained, or by another optimizer: it has "
                f"{slots[0]} of the optimizer's slots and averages, and what trains here needs {slots[1]}.\nUse the "
                "BACKBONE_MODE, Policy.rules and optimizer that it was trained with (config.gin in the run's folder), "
                "or another model_dir. What trains may change during a run only at the step that Policy.until says."
            )
        other = differences(path, variables)
        if other:
            raise RunError(
                f"Checkpoint {path} was written by another model:\n{other}\n"
                "Use the configuration it was trained with (config.gin in its folder), or another model_dir."
            )
        status = self._root.restore(path)
        status.assert_existing_objects_matched().assert_consumed()
        step = int(self._optimizer.iterations.numpy())
        own = os.path.join(self.directory, f"ckpt-{step}")
        self._step_on_disk = step if os.path.abspath(path) == os.path.abspath(own) else None
        return step

    def _leave_out(self, left_out: dict[str, str]) -> None:
        """Makes the root that holds all but the variables of these paths and fingerprints."""
        if left_out == self._left_out:
            return
        paths = variable_paths(self._detector)
        self._root = without(self._detector, self._optimizer, [paths[path] for path in left_out])
        if left_out:
            self._root.left_out = LeftOut(self._detector, left_out)
        self._left_out, self._manager = left_out, None

    def _write(self, step: int, path: str) -> None:
        if self._manager is None:  # not in the constructor: a run that only evaluates must not write
            self._manager = tf.train.CheckpointManager(self._root, self.directory, self._keep)
        self._list.begin(path)
        self._manager.save(checkpoint_number=step)
        for file in glob.glob(f"{glob.escape(path)}.*"):
            sync(file)
        self._list.finish()
        sync(self.directory)
        listed = self._manager.checkpoints
        for old in complete_checkpoints(self.directory):
            # What a killed run wrote and could not list any more, and what cannot be read.
            if (
                old not in listed
                and step_in_name(old) < step_in_name(listed[0])
                or old in self._damaged
                and old != path
            ):
                _remove(old)


def _remove(path: str) -> None:
    for file in glob.glob(f"{glob.escape(path)}.*"):
        remove(file)


def _remove_partial(directory: str) -> None:
    """Deletes what a failed or killed save has left: temporary files, index or data without the other."""
    whole = {os.path.basename(path) for path in complete_checkpoints(directory)}
    for name in os.listdir(directory):
        path = os.path.join(directory, name)
        is_part = name.startswith("ckpt-") and re.sub(r"\.(index|data-\d+-of-\d+)$", "", name) not in whole
        if is_part or name == SAVING or name.startswith("checkpoint.tmp"):
            remove(path)
