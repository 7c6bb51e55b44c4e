"""The normalization layers that gin can hand to any neck or head, and how a layer is used as a pattern."""

from __future__ import annotations

import gin

from tf_frozen.keras_flavor import keras

BatchNorm = gin.external_configurable(keras.layers.BatchNormalization, name="BatchNorm", module="norm")
SyncBatchNorm = gin.external_configurable(
    keras.layers.experimental.SyncBatchNormalization, name="SyncBatchNorm", module="norm"
)
GroupNorm = gin.external_configurable(keras.layers.GroupNormalization, name="GroupNorm", module="norm")


def default_norm(epsilon: float = 1e-4) -> keras.layers.Layer:
    """The batch norm of a layer that is given none.

    Its moving statistics follow within tens of steps. The paper's momentum of 0.997 needs a thousand: before that,
    inference with statistics that are still near 0 and 1 gives false detections. Its recipes set it in gin.
    """
    return keras.layers.BatchNormalization(momentum=0.9, epsilon=epsilon)


def copy_of(layer: keras.layers.Layer, name: str | None = None) -> keras.layers.Layer:
    """A new layer of the same class and configuration as `layer`, with its own weights."""
    config = layer.get_config()
    config.pop("name")
    return layer.__class__.from_config({**config, "name": name} if name else config)
