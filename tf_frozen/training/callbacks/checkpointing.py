"""Saves a run while it trains."""

from __future__ import annotations

import time

from tf_frozen.training.callbacks.finite_loss import not_finite
from tf_frozen.training.callbacks.steps import StepCallback
from tf_frozen.training.checkpoint import Checkpoints


class Checkpointing(StepCallback):
    """Saves every `seconds` of wall time, every `steps` steps, and when training ends.

    None switches one of the two off. Nothing is saved while a loss part is not finite.
    """

    def __init__(self, checkpoints: Checkpoints, seconds: float | None = 300.0, steps: int | None = None):
        super().__init__()
        self._checkpoints = checkpoints
        self._seconds = seconds
        self._steps = steps
        self._saved_at = self._saved_step = 0

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Starts the clock."""
        super().on_train_begin(logs)
        self._saved_at, self._saved_step = time.monotonic(), self.start_step

    def on_step(self, step: int, logs: dict[str, float]) -> None:
        """Saves when it is time."""
        late = self._seconds is not None and time.monotonic() - self._saved_at >= self._seconds
        due = self._steps is not None and step // self._steps > self._saved_step // self._steps
        if late or due:
            self._save(step, logs)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Saves the last state."""
        # Not on_train_end: before that Keras overwrites the weights by their averages, and a resumed run
        # would differ.
        self._save(int(self.model.optimizer.iterations.numpy()), logs or {})

    def _save(self, step: int, logs: dict[str, float]) -> None:
        if not_finite(logs):
            return
        self._checkpoints.save()
        self._saved_at, self._saved_step = time.monotonic(), step
