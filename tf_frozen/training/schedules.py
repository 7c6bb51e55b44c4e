"""Learning rate schedules that fit the length of the run, and a warning for those that do not."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import gin
import numpy as np
import tensorflow as tf
from official.modeling.optimization import lr_schedule

from tf_frozen.config.checked import Checked
from tf_frozen.config.ranges import NonNegativeFloat, NonNegativeInt, OpenFraction, PositiveInt
from tf_frozen.errors import ConfigError
from tf_frozen.keras_flavor import keras

_LOGGER = logging.getLogger(__name__)
_schedules = keras.optimizers.schedules
_WARMUP_SHARE = 10
_SAMPLES = 50
_FAR = 10**9
_REST = 0.05


class _Fitted(Checked, _schedules.LearningRateSchedule):
    """Wraps `schedule`, which was computed for a run; `config` holds the arguments of the class that made it."""

    def __init__(self, schedule: _schedules.LearningRateSchedule, **config: Any):
        self._schedule, self._config = schedule, config

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """The rate once `step` steps are done, a float32 scalar."""
        return self._schedule(step)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return dict(self._config)


@gin.configurable(module="schedules")
@keras.utils.register_keras_serializable("tf_frozen")
class WarmupCosine(_Fitted):
    """Linear warm-up from 0 to `peak`, then half a cosine down to 0 after `steps`, the length of the run.

    The warm-up takes `warmup_steps`, or a tenth of the run if that is shorter. `peak` is the rate for batches of
    `reference_batch` images, and is scaled in proportion to `batch_size` (Goyal et al. 2017, arXiv
    1706.02677, section 2.1). Without `reference_batch` it is not scaled. Raises ConfigError for a value out of range.
    """

    def __init__(
        self,
        peak: NonNegativeFloat = gin.REQUIRED,
        steps: PositiveInt | None = gin.REQUIRED,  # None as long as Run.length has not fixed TRAIN_STEPS
        warmup_steps: NonNegativeInt = 0,
        batch_size: PositiveInt | None = None,
        reference_batch: PositiveInt | None = None,
    ):
        config = {"peak": peak, "steps": steps, "warmup_steps": warmup_steps}
        config |= {"batch_size": batch_size, "reference_batch": reference_batch}
        _check_known("WarmupCosine", steps)
        warmup, top = min(warmup_steps, steps // _WARMUP_SHARE), peak * _scale(batch_size, reference_batch)
        cosine = _schedules.CosineDecay(0.0, steps - warmup, warmup_target=top, warmup_steps=warmup)
        super().__init__(cosine if warmup else _schedules.CosineDecay(top, steps), **config)


@gin.configurable(module="schedules")
@keras.utils.register_keras_serializable("tf_frozen")
class StepDecay(_Fitted):
    """The first of `rates`, then the next one at each of `drops`, given as fractions of `steps`, the run's length.

    A linear warm-up from `warmup_from` comes first; it is shortened, and all rates are scaled, as in WarmupCosine.
    Raises ConfigError for a value out of range.
    """

    def __init__(
        self,
        rates: Sequence[NonNegativeFloat] = gin.REQUIRED,
        drops: Sequence[OpenFraction] = gin.REQUIRED,
        steps: PositiveInt | None = gin.REQUIRED,  # None as long as Run.length has not fixed TRAIN_STEPS
        warmup_steps: NonNegativeInt = 0,
        warmup_from: NonNegativeFloat = 0.0,
        batch_size: PositiveInt | None = None,
        reference_batch: PositiveInt | None = None,
    ):
        config = {"rates": rates, "drops": drops, "steps": steps, "warmup_steps": warmup_steps}
        config |= {"warmup_from": warmup_from, "batch_size": batch_size, "reference_batch": reference_batch}
        _check_known("StepDecay", steps)
        _check_drops(rates, drops)
        warmup, scale = min(warmup_steps, steps // _WARMUP_SHARE), _scale(batch_size, reference_batch)
        schedule = _schedules.PiecewiseConstantDecay(
            [round(drop * steps) for drop in drops], [rate * scale for rate in rates]
        )
        if warmup:
            schedule = lr_schedule.LinearWarmup(schedule, warmup, warmup_from * scale)
        super().__init__(schedule, **config)


def schedule_of(optimizer: keras.optimizers.Optimizer) -> _schedules.LearningRateSchedule | None:
    """The schedule of an optimizer's learning rate, None where that is a number."""
    rate = getattr(optimizer, "inner_optimizer", optimizer)._learning_rate
    return rate if isinstance(rate, _schedules.LearningRateSchedule) else None


def log_schedule(optimizer: keras.optimizers.Optimizer, steps: int) -> None:
    """Logs the learning rates of a run of `steps` steps, and warns where they do not come to their end."""
    schedule = schedule_of(optimizer)
    if schedule is None:
        return
    _LOGGER.info("Learning rate: %s.", described(schedule, steps))
    warning = unfinished(schedule, steps)
    if warning:
        _LOGGER.warning("%s", warning)


def described(schedule: _schedules.LearningRateSchedule, steps: int) -> str:
    """The rates of a run of `steps` steps in words: of its first step, of its last, and of two between."""
    numbers = sorted({1, max(steps // _WARMUP_SHARE, 1), max(steps // 2, 1), steps})
    return ", ".join(f"{_rate(schedule, number - 1):.3g} in step {number}" for number in numbers)


def unfinished(schedule: _schedules.LearningRateSchedule, steps: int) -> str:
    """Returns a warning if a schedule would still change much after a run of `steps` steps, else ''."""
    rates = [_rate(schedule, step) for step in np.linspace(0, steps, _SAMPLES).astype(int)]
    last, far = rates[-1], _rate(schedule, _FAR)
    if abs(last - far) <= _REST * max(*rates, far):
        return ""
    return (
        f"The learning rate does not come to its end: it is {last:.3g} after the {steps} steps of the run and would "
        f"become {far:.3g}. Fit the schedule's steps to Run.train_steps, or use WarmupCosine or StepDecay with "
        f"steps = %TRAIN_STEPS."
    )


def _rate(schedule: _schedules.LearningRateSchedule, done: int) -> float:
    return float(schedule(tf.constant(done, tf.int64)))


def _scale(batch_size: int | None, reference_batch: int | None) -> float:
    return 1.0 if reference_batch is None or batch_size is None else batch_size / reference_batch


def _check_known(name: str, steps: int | None) -> None:
    if steps is None:
        raise ConfigError(f"{name}.steps is None; give the steps of the run. Run.length fixes them when it trains.")


def _check_drops(rates: Sequence[float], drops: Sequence[float]) -> None:
    if list(drops) != sorted(drops) or len(rates) != len(drops) + 1:
        raise ConfigError(
            f"StepDecay.drops is {drops!r} and StepDecay.rates {rates!r}; drops must rise, and there must be one rate "
            f"more than drops."
        )
