"""Builds the parts of a run under its strategy and precision, and restores checkpoints into them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import NamedTuple

from tf_frozen.config.explained import explained
from tf_frozen.detectors.detector import Detector
from tf_frozen.errors import ConfigError, RunError
from tf_frozen.freezing.policy import Policy
from tf_frozen.keras_flavor import keras
from tf_frozen.layers.building import build
from tf_frozen.training.checkpoint import Checkpoints
from tf_frozen.training.optimizers import build_optimizer
from tf_frozen.training.phases import Phases
from tf_frozen.training.precision import precision_of_layers
from tf_frozen.training.run_directory import RunDirectory
from tf_frozen.training.strategy import default_strategy


class Built(NamedTuple):
    """A detector compiled for its present phase, the phases, and the checkpoints."""

    detector: Detector
    phases: Phases
    checkpoints: Checkpoints


class Builder:
    """Builds a run's detector, phases and checkpoints when they are first used, and keeps them.

    `detector` and `optimizer` are called without arguments; `checkpoints` is what these hold: see `Run`.
    """

    def __init__(
        self,
        directory: RunDirectory,
        detector: Callable[[], Detector],
        optimizer: Callable[[], keras.optimizers.Optimizer],
        policy: Policy,
        rates: Sequence[tuple[str, float]] = (),
        precision: str = "float32",
        checkpoints: str = "trained",
    ):
        self._directory, self._new_detector, self._new_optimizer = directory, detector, optimizer
        self._policy, self._rates = policy, rates
        self._precision, self._holds = precision, checkpoints
        self.strategy = default_strategy()

    @cached_property
    def built(self) -> Built:
        """The parts; the ConfigError of one that cannot be built says what has to be reloaded from its source."""
        try:
            with explained(), self._scope():
                return self._build()
        except ConfigError as error:
            left_out = self._directory.left_out()
            if not left_out["variables"]:
                raise
            raise ConfigError(
                f"{error}\nThe checkpoints of {self._directory.path} do not hold {left_out['variables']} frozen "
                f"variables of the backbone, which came from {left_out['source']}. Put that back, or say where it is "
                f"now with `gin_params`. (A new run keeps them in its checkpoints by Run.checkpoints = 'everything'.)"
            ) from error

    def enter(self, step: int) -> keras.optimizers.Optimizer:
        """Makes the detector train what the policy says for `step`; returns the optimizer of that phase."""
        with self._scope():
            return self.built.phases.enter(step)

    def restored(self, checkpoint: str | None = None) -> tuple[Detector, int]:
        """The detector of that checkpoint, or of the latest, with averages where the run keeps them; and its step.

        Raises RunError where the checkpoint does not exist, ConfigError where frozen weights cannot be reloaded.
        """
        detector, _, checkpoints = self.built
        step = checkpoints.restore(checkpoint) if checkpoint else checkpoints.restore_latest()
        if not step:
            raise RunError(f"{self._directory.path} holds no checkpoint yet; `tf-frozen train` writes them.")
        optimizer = detector.optimizer
        if optimizer.use_ema:
            optimizer.finalize_variable_values(detector.trainable_variables)
        return detector, step

    def _build(self) -> Built:
        detector = self._new_detector()
        build(detector)
        phases = Phases(detector, self._policy, self._scaled_optimizer, self._rates)
        folder = str(self._directory.path)
        checkpoints = Checkpoints(folder, detector, detector.optimizer, holds=self._holds, enter=self.enter)
        return Built(detector, phases, checkpoints)

    @contextlib.contextmanager
    def _scope(self) -> Iterator[None]:
        with self.strategy.scope(), precision_of_layers(self._precision):
            yield

    def new_optimizer(self) -> keras.optimizers.Optimizer:
        """An optimizer as each phase begins with, without the scale of a float16 loss."""
        return build_optimizer(self._new_optimizer)

    def _scaled_optimizer(self) -> keras.optimizers.Optimizer:
        optimizer = self.new_optimizer()
        scaled = self._precision == "mixed_float16"
        return keras.mixed_precision.LossScaleOptimizer(optimizer) if scaled else optimizer
