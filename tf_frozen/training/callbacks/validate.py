"""Scores a run at regular steps, keeps its best checkpoint, and stops it when the scores no longer rise."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from tf_frozen.training.averaging import averaged_weights
from tf_frozen.training.best import Best
from tf_frozen.training.callbacks.steps import StepCallback
from tf_frozen.training.checkpoint import Checkpoints
from tf_frozen.training.scorer import Scorer
from tf_frozen.training.validation import Validation

_LOGGER = logging.getLogger(__name__)


class Validate(StepCallback):
    """Scores by averaged weights every `steps` steps and at step `last`; never when `steps` is 0.

    What is scored is saved before. Training stops where `validation` has no patience left; `stopped` says so
    afterwards, and `seconds` how long scoring took. `interruptible` wraps a function of the step so that a signal can
    interrupt it.
    """

    def __init__(
        self,
        steps: int,
        last: int,
        scorer: Scorer,
        best: Best,
        checkpoints: Checkpoints,
        validation: Validation,
        interruptible: Callable[[Callable[[int], None]], Callable[[int], None]] = lambda function: function,
    ):
        super().__init__()
        self._check = interruptible(self._score)
        self._steps, self._last, self._validation = steps, last, validation
        self._scorer, self._best, self._checkpoints = scorer, best, checkpoints
        self.stopped, self.seconds = False, 0.0

    def on_step(self, step: int, logs: dict[str, float]) -> None:
        """Scores when it is time."""
        if not self._steps or (step % self._steps and step != self._last):
            return
        self._checkpoints.save()
        started = time.monotonic()
        try:
            self._check(step)
        finally:
            self.seconds += time.monotonic() - started

    def _score(self, step: int) -> None:
        with averaged_weights(self.model, self.model.optimizer):
            metrics = self._scorer.score(step)
        images = len(self._scorer.examples)
        headline = self._scorer.headline
        better = self._best.offer(self._checkpoints.save, step, headline, metrics[headline], images)
        brief = [name for name in self._scorer.brief if metrics[name] is not None]
        figures = ", ".join(f"{name} {metrics[name]:.3f}" for name in brief)
        _LOGGER.info("step %d: %s on %s%s", step, figures or "no score", self._scorer.sample, " | best so far" * better)
        if self._validation.exhausted(self._best.record) and step != self._last:
            self.stopped = self.model.stop_training = True
            _LOGGER.info(
                "Stopping after step %d: none of the last %d scores was better than the best.",
                step, self._validation.patience,
            )  # fmt: skip
