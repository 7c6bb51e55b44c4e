"""Optimizers and learning rate schedules under the names that gin files use."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import tensorflow as tf
from official.modeling.optimization import lr_schedule

from tf_frozen.config.explained import explained
from tf_frozen.config.external import external
from tf_frozen.config.ranges import Fraction, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, Rate
from tf_frozen.errors import ConfigError
from tf_frozen.keras_flavor import keras

_schedules = keras.optimizers.schedules
_OF_OPTIMIZERS = {
    "learning_rate": NonNegativeFloat | _schedules.LearningRateSchedule,
    "weight_decay": NonNegativeFloat | None,
    "clipnorm": PositiveFloat | None,
    "clipvalue": PositiveFloat | None,
    "global_clipnorm": PositiveFloat | None,
    "use_ema": bool,
    "ema_momentum": Fraction,
    "ema_overwrite_frequency": PositiveInt | None,
    "jit_compile": bool,
    "name": str,
}

_OF_ADAM = {"beta_1": Rate, "beta_2": Rate, "epsilon": PositiveFloat, "amsgrad": bool, **_OF_OPTIMIZERS}

SGD = external(keras.optimizers.SGD, "SGD", "optimizers", momentum=Fraction, nesterov=bool, **_OF_OPTIMIZERS)
AdamW = external(
    keras.optimizers.AdamW,
    "AdamW",
    "optimizers",
    **_OF_ADAM,
)
Adam = external(
    keras.optimizers.Adam,
    "Adam",
    "optimizers",
    adaptive_epsilon=bool,
    **_OF_ADAM,
)
CosineDecay = external(
    _schedules.CosineDecay,
    "CosineDecay",
    "schedules",
    initial_learning_rate=NonNegativeFloat,
    decay_steps=PositiveInt | None,  # None as long as Run.length has not fixed TRAIN_STEPS
    alpha=Fraction,
    warmup_target=NonNegativeFloat | None,
    warmup_steps=NonNegativeInt,
    name=str | None,
)
PiecewiseConstantDecay = external(
    _schedules.PiecewiseConstantDecay,
    "PiecewiseConstantDecay",
    "schedules",
    boundaries=Sequence[NonNegativeFloat],
    values=Sequence[NonNegativeFloat],
    name=str | None,
)
LinearWarmup = external(
    lr_schedule.LinearWarmup,
    "LinearWarmup",
    "schedules",
    after_warmup_lr_sched=NonNegativeFloat | _schedules.LearningRateSchedule,
    warmup_steps=PositiveInt,
    warmup_learning_rate=NonNegativeFloat,
    name=str | None,
)


def build_optimizer(new: Callable[[], keras.optimizers.Optimizer]) -> keras.optimizers.Optimizer:
    """The optimizer; ConfigError where it, or its schedule, does not take one of its settings."""
    try:
        with explained():
            return new()
    except (TypeError, ValueError, tf.errors.OpError) as error:
        # TensorFlow puts the node before its message, and the operation behind it.
        reason = str(error).strip().splitlines()[0].rpartition("}} ")[2].partition(" [Op:")[0]
        raise ConfigError(
            f"The optimizer can't be built: {reason}. Its settings and those of its schedule, as LEARNING_RATE and "
            f"WARMUP_STEPS, must be numbers, and the schedule one of `from tf_frozen.keras_flavor import keras`."
        ) from error
