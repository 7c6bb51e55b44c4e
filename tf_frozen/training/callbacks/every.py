"""Calls a function at regular steps."""

from __future__ import annotations

from collections.abc import Callable

from tf_frozen.training.callbacks.steps import StepCallback


class Every(StepCallback):
    """Calls `function(step)` every `steps` steps; never when `steps` is 0."""

    def __init__(self, steps: int, function: Callable[[int], None]):
        super().__init__()
        self._steps, self._function = steps, function

    def on_step(self, step: int, logs: dict[str, float]) -> None:
        """Calls when it is time."""
        if self._steps and step % self._steps == 0:
            self._function(step)
