"""Optimizers and learning rate schedules under the names that gin files use."""

from __future__ import annotations

from collections.abc import Callable

import gin
import tensorflow as tf
from official.modeling.optimization import lr_schedule

from tf_frozen.errors import ConfigError
from tf_frozen.keras_flavor import keras

SGD = gin.external_configurable(keras.optimizers.SGD, name="SGD", module="optimizers")
AdamW = gin.external_configurable(keras.optimizers.AdamW, name="AdamW", module="optimizers")

_schedules = keras.optimizers.schedules
CosineDecay = gin.external_configurable(_schedules.CosineDecay, name="CosineDecay", module="schedules")
PiecewiseConstantDecay = gin.external_configurable(
    _schedules.PiecewiseConstantDecay, name="PiecewiseConstantDecay", module="schedules"
)
LinearWarmup = gin.external_configurable(lr_schedule.LinearWarmup, name="LinearWarmup", module="schedules")


def build_optimizer(new: Callable[[], keras.optimizers.Optimizer]) -> keras.optimizers.Optimizer:
    """The optimizer; ConfigError where it takes one of its settings, or its schedule's, for no number."""
    try:
        return new()
    except (ValueError, tf.errors.OpError) as error:
        # TensorFlow puts the node before its message, and the operation behind it.
        reason = str(error).strip().splitlines()[0].rpartition("}} ")[2].partition(" [Op:")[0]
        raise ConfigError(
            f"The optimizer can't be built: {reason}. Its settings and those of its schedule, as LEARNING_RATE and "
            f"WARMUP_STEPS, must be numbers."
        ) from error
