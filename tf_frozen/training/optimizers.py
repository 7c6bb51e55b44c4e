"""Optimizers and learning rate schedules under the names that gin files use."""

import gin
from official.modeling.optimization import lr_schedule

from tf_frozen.keras_flavor import keras

SGD = gin.external_configurable(keras.optimizers.SGD, name="SGD", module="optimizers")
AdamW = gin.external_configurable(keras.optimizers.AdamW, name="AdamW", module="optimizers")

_schedules = keras.optimizers.schedules
CosineDecay = gin.external_configurable(_schedules.CosineDecay, name="CosineDecay", module="schedules")
PiecewiseConstantDecay = gin.external_configurable(
    _schedules.PiecewiseConstantDecay, name="PiecewiseConstantDecay", module="schedules"
)
LinearWarmup = gin.external_configurable(lr_schedule.LinearWarmup, name="LinearWarmup", module="schedules")
