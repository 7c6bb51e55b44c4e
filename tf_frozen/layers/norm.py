"""The normalization layers that gin can hand to any neck or head, and how a layer is used as a pattern."""

from __future__ import annotations

from typing import Annotated, Literal

from tf_frozen.config.external import external
from tf_frozen.config.ranges import Fraction, PositiveFraction, Range, Width
from tf_frozen.keras_flavor import keras

_OF_ALL = {"axis": Annotated[int, Range(-4, 3)], "epsilon": PositiveFraction, "center": bool, "scale": bool}
_OF_BATCH = {**_OF_ALL, "momentum": Fraction}

BatchNorm = external(keras.layers.BatchNormalization, "BatchNorm", "norm", synchronized=bool, **_OF_BATCH)
SyncBatchNorm = external(keras.layers.experimental.SyncBatchNormalization, "SyncBatchNorm", "norm", **_OF_BATCH)
GroupNorm = external(keras.layers.GroupNormalization, "GroupNorm", "norm", groups=Width | Literal[-1], **_OF_ALL)


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
