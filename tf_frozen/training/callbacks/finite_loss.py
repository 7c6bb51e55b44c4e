"""Stops a run whose loss is not finite."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from tf_frozen.errors import RunError
from tf_frozen.training.callbacks.steps import StepCallback


def not_finite(logs: dict[str, float]) -> list[str]:
    """Names of the values that are NaN or infinite, the parts of the loss before the whole."""
    names = [name for name, value in logs.items() if not math.isfinite(value)]
    return sorted(names, key=lambda name: name == "loss")


class FiniteLoss(StepCallback):
    """Raises RunError naming loss part, step and images as soon as a part is NaN or infinite.

    `image_ids(n)` gives the ids of the batch that is trained on when `n` steps are done (0 for a run's first
    batch): batches are a function of the step, so no batch has to be kept for this.
    """

    def __init__(self, image_ids: Callable[[int], Sequence[int | str]]):
        super().__init__()
        self._image_ids = image_ids
        self._checked = 0

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Notes which step comes first."""
        super().on_train_begin(logs)
        self._checked = self.start_step

    def on_step(self, step: int, logs: dict[str, float]) -> None:
        """Raises RunError unless all is finite."""
        bad = not_finite(logs)
        if bad:
            raise RunError(self._message(step, logs, bad))
        self._checked = step

    def _message(self, step: int, logs: dict[str, float], bad: list[str]) -> str:
        ids = [str(i) for n in range(self._checked, step) for i in self._image_ids(n)]
        values = ", ".join(f"{name} = {value:g}" for name, value in logs.items())
        return (
            f"The loss part {bad[0]!r} is {logs[bad[0]]} at step {step} ({values}).\n"
            f"Image ids of the batch: {', '.join(ids)}.\n"
            "No checkpoint was written since; earlier ones are intact. Inspect these images and their boxes, "
            "lower the learning rate or clip the gradients, then run the same command again. If it fails at once, the "
            "newest checkpoint was already damaged: remove its files (ckpt-STEP.*) to resume from the one before."
        )
