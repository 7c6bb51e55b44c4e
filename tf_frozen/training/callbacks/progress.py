"""Shows the progress of a run: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from typing import TextIO

from tqdm import tqdm

from tf_frozen.progress import duration, open_bar
from tf_frozen.training.callbacks.steps import StepCallback

_STEPS_OF_AN_ESTIMATE = 5
_LOGGER = logging.getLogger(__name__)


class Progress(StepCallback):
    """Shows step, loss parts, images/s and time left; on a terminal as a bar, else as a line every `seconds`.

    The rate excludes the first step, in which the graph is built, and saving and scoring. Use inside `with`,
    so that the terminal is left in order after an error. `total_steps` counts from the run's first step;
    `batch_size` is global.
    """

    def __init__(self, total_steps: int, batch_size: int, seconds: float = 10.0, stream: TextIO | None = None):
        super().__init__()
        self._total_steps = total_steps
        self._batch_size = batch_size
        self._seconds = seconds
        self._stream = stream or sys.stdout
        self._bar: tqdm | None = None
        self._stack = contextlib.ExitStack()
        self._text = ""

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Opens the bar."""
        super().on_train_begin(logs)
        self._shown = self._started = time.monotonic()
        looks = {"initial": self.start_step, "bar_format": "step {n_fmt}/{total_fmt} |{bar:10}| {desc}"}
        self._bar = self._stack.enter_context(open_bar(self._total_steps, self._stream, **looks))

    def on_step(self, step: int, logs: dict[str, float]) -> None:
        """Moves the bar, or logs a line when it is time."""
        now = time.monotonic()
        if not self.timed_steps:
            _LOGGER.info("step %d took %.1f s, with the building of the graph", step, now - self._started)
        elif self._bar is None and self.timed_steps == _STEPS_OF_AN_ESTIMATE and step < self._total_steps:
            left = duration((self._total_steps - step) * self._batch_size / self.images_per_second)
            rate = f"{self.images_per_second:.1f} images/s"
            _LOGGER.info("%s: the %d steps left take about %s", rate, self._total_steps - step, left)
        self._text = f"{self._rate(step)} | {_losses(logs)}"  # a narrow terminal cuts the end
        if self._bar is not None:
            self._bar.set_description_str(self._text, refresh=False)
            self._bar.update(step - self._bar.n)
        elif now - self._shown >= self._seconds:
            self._shown = now
            _LOGGER.info("step %d/%d | %s", step, self._total_steps, self._text)

    def on_train_end(self, logs: dict | None = None) -> None:
        """Shows the last state."""
        if self._bar is not None:
            self._bar.refresh()
        elif self._text:
            _LOGGER.info("step %d/%d | %s", self._step, self._total_steps, self._text)
        self._stack.close()

    @property
    def images_per_second(self) -> float | None:
        """The rate of this call of `fit` so far; None before its second step."""
        return self.timed_steps * self._batch_size / self.timed_seconds if self.timed_seconds else None

    def _rate(self, step: int) -> str:
        rate = self.images_per_second
        if rate is None:
            return "rate not yet known"
        seconds = (self._total_steps - step) * self._batch_size / rate
        return f"{rate:.1f} images/s | {duration(seconds)} left"


def _losses(logs: dict[str, float]) -> str:
    return "  ".join(f"{name} {value:.4g}" for name, value in logs.items())
