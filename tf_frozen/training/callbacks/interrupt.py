"""Ctrl-C ends a run in good order."""

from __future__ import annotations

import logging
import os
import signal
import threading
from types import FrameType

from tf_frozen.training.callbacks.steps import StepCallback

_LOGGER = logging.getLogger(__name__)


class StopOnInterrupt(StepCallback):
    """Inside `with`, the first Ctrl-C stops training after the present step, the second ends the process.

    Saving is Checkpointing's work. Afterwards `interrupted` says whether training was stopped.
    """

    def __init__(self, total_steps: int):
        super().__init__()
        self.interrupted = False
        self._total_steps = total_steps
        self._previous = None

    def __enter__(self) -> StopOnInterrupt:
        if threading.current_thread() is threading.main_thread():  # only there Python allows handlers
            self._previous = signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)
            self._previous = None

    def _handle(self, number: int, frame: FrameType | None) -> None:
        # The system's own action, because a Python handler would wait for the end of the step.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        self.interrupted = True
        # Not through logging: its lock may be held by the very code that was interrupted.
        os.write(2, b"\nStopping after this step and saving. Ctrl-C again quits at once, without saving.\n")

    def on_step(self, step: int, logs: dict[str, float]) -> None:
        """Stops training if Ctrl-C was pressed."""
        if self.interrupted:
            self.model.stop_training = True

    def on_train_end(self, logs: dict | None = None) -> None:
        """Says how to go on."""
        if self.interrupted:
            _LOGGER.info(
                "Stopped by Ctrl-C after step %d of %d and saved. To go on, run the same command again.",
                self._step,
                self._total_steps,
            )
