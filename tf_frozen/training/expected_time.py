"""Estimates the time of training steps before the first of them has run."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from tf_frozen.keras_flavor import keras

_SHAPE, _KERNEL, _TIMES = (8, 32, 32, 256), 3, 3  # large enough to keep all cores busy; a fifth of a second on two


def least_seconds(costs: Mapping[str, Any], size: tuple[int, int], images: int, cached: bool = False) -> float:
    """Seconds for `images` training images of `size` (height, width): their multiply-adds at a convolution's speed.

    `costs` are those of `savings`; with `cached` features the backbone's are left out. A lower bound, near the truth
    where convolutions take most of a step: what is not a matrix product is not counted, nor are decoding and scoring.
    """
    backbone = costs["parts"].get("backbone", {}).get("step_flops", 0) if cached else 0
    area = size[0] * size[1] / (costs["frame"][0] * costs["frame"][1])
    return (costs["step_flops"] - backbone) / costs["batch"] * area * images / _speed()


def _speed() -> float:
    """Multiply-adds a second of a 3 × 3 convolution on all replicas together, in the precision of the layers."""
    dtype = keras.mixed_precision.global_policy().compute_dtype
    images, kernel = tf.zeros(_SHAPE, dtype), tf.zeros([_KERNEL, _KERNEL, _SHAPE[-1], _SHAPE[-1]], dtype)
    seconds = []
    for _ in range(_TIMES):  # the first one sets up memory and kernels
        started = time.perf_counter()
        tf.reduce_max(tf.nn.conv2d(images, kernel, 1, "SAME")).numpy()
        seconds.append(time.perf_counter() - started)
    multiply_adds = _SHAPE[0] * _SHAPE[1] * _SHAPE[2] * _SHAPE[3] ** 2 * _KERNEL**2
    return multiply_adds * _accelerators() / min(seconds)


def _accelerators() -> int:
    """Devices that work at the same time; replicas on one CPU share its cores."""
    devices = [device for kind in ("GPU", "TPU") for device in tf.config.list_logical_devices(kind)]
    return tf.distribute.get_strategy().num_replicas_in_sync if devices else 1
