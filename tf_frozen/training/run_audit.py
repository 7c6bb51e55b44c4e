"""Audits each phase of a run, and keeps what is found in its freezing.json."""

from __future__ import annotations

import logging
from typing import Any

import tensorflow as tf

from tf_frozen.data.pipeline import TrainBatches
from tf_frozen.errors import FreezeError, RunError
from tf_frozen.feature_cache.cached_batches import CachedBatches
from tf_frozen.freezing.audit import Audit
from tf_frozen.freezing.traced_step import trace
from tf_frozen.training.builder import Builder
from tf_frozen.training.run_directory import RunDirectory

_LOGGER = logging.getLogger(__name__)


class RunAudit:
    """The audits of a run's phases, one after the other.

    A phase's audit, `current`, inspects its train step before that runs, and compares the frozen variables when the
    phase ends.
    """

    def __init__(self, directory: RunDirectory, builder: Builder, batch_size: int):
        self._directory, self._builder, self._batch_size = directory, builder, batch_size
        self._left_out: dict[str, Any] = {}
        self._proven_from = 0
        self.current: Audit | None = None

    def begin(self, batches: TrainBatches | CachedBatches, step: int) -> None:
        """Begins the audit of the phase that a run starts or resumes after `step` steps; FreezeError."""
        self._begin(batches, self._earlier(step) if step else None)

    def next_phase(self, batches: TrainBatches | CachedBatches) -> None:
        """Begins the audit of the phase after the one that is finished; FreezeError."""
        self._begin(batches, self.current.as_dict())

    def finish(self, batches: TrainBatches | CachedBatches) -> None:
        """Ends the audit of the present phase, and writes it down; FreezeError where a frozen variable changed."""
        try:
            self.current.finish(self._train_step(batches))
        finally:
            summaries = (self._left_out, self._builder.built.checkpoints.summary())
            self.write(max(summaries, key=lambda summary: summary["variables"]))
        frozen = self.current.as_dict()["frozen_variables"]
        if frozen:
            _LOGGER.info("%d frozen variables are bit for bit what they were.", frozen)

    def write(self, left_out: dict[str, Any] | None = None) -> None:
        """Writes freezing.json; `left_out` is what checkpoints leave out, by default those written from now on."""
        self._left_out = self._builder.built.checkpoints.summary() if left_out is None else left_out
        self._directory.write_freezing(self.current.as_dict(), self._left_out, self._proven_from)

    def report(self, crop: tuple[int, int]) -> dict[str, Any]:
        """Audits the latest checkpoint and a step traced from it; returns the content of freezing.json."""
        earlier = self._directory.freezing()
        detector, step = self._builder.restored()
        audit = Audit(detector, detector.optimizer, earlier, self._builder.built.phases.begin, raises=False)
        with self._builder.strategy.scope():
            audit.finish(trace(detector, self._batch_size, crop))
        return audit.as_dict() | {"step": step, "proven_from": earlier.get("proven_from", 0)}

    def _begin(self, batches: TrainBatches | CachedBatches, earlier: dict[str, Any] | None) -> None:
        detector, phases, _ = self._builder.built
        self.current = Audit(detector, detector.optimizer, earlier, from_step=phases.begin)
        try:
            self.current.inspect(self._train_step(batches))
        except FreezeError:
            self.write()
            raise

    def _train_step(self, batches: TrainBatches | CachedBatches) -> tf.types.experimental.ConcreteFunction:
        """The graph that `fit` runs on such batches, which does not trace it again."""
        strategy = self._builder.strategy
        with strategy.scope():
            iterator = iter(strategy.experimental_distribute_dataset(batches.dataset(0, 1)))
            return self._builder.built.detector.make_train_function().get_concrete_function(iterator)

    def _earlier(self, step: int) -> dict[str, Any] | None:
        """The record of what was frozen up to `step`; where it is lost, logs that the proof starts again there."""
        try:
            earlier = self._directory.freezing()
        except RunError as error:
            lost = (
                f"That nothing frozen changed before step {step} can no longer be proven; the proof starts again there."
            )
            _LOGGER.warning("%s\n%s", error, lost)
            self._proven_from = step
            return None
        self._proven_from = earlier.get("proven_from", 0)
        return earlier
