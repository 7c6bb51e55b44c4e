"""Keras's optimizers and schedules under the names that gin files use."""

import gin

from tf_frozen.keras_flavor import keras

SGD = gin.external_configurable(keras.optimizers.SGD, name="SGD", module="optimizers")
AdamW = gin.external_configurable(keras.optimizers.AdamW, name="AdamW", module="optimizers")
CosineDecay = gin.external_configurable(keras.optimizers.schedules.CosineDecay, name="CosineDecay", module="schedules")
