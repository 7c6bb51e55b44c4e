"""Estimates the time of training steps before the first of them has run."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from tf_frozen.detectors.detector import Detector
from tf_frozen.graph_function import GraphFunction

_TIMES = 3  # the first one sets up memory and kernels


def expected_seconds(
    detector: Detector, costs: Mapping[str, Any], size: tuple[int, int], images: int, cached: bool = False
) -> float | None:
    """Seconds for training on `images` images of `size` (height, width), from their multiply-adds.

    The speed is that of the backbone's forward pass on one image, timed here: so all of a step is taken to run as fast,
    on as many devices as there are replicas. `costs` are those of `savings`; with `cached` features the backbone's are
    left out. None where the backbone has no multiply-adds.
    """
    backbone = costs["parts"]["backbone"]  # the costs of an image of another size have the same proportions
    if not backbone["forward_flops"]:
        return None
    step = costs["step_flops"] - (backbone["step_flops"] if cached else 0)
    return _forward_seconds(detector, size) * step / backbone["forward_flops"] * images / _devices()


def _forward_seconds(detector: Detector, size: tuple[int, int]) -> float:
    """Seconds of the backbone's forward pass on one image."""
    # A graph, as in training: single operations, which nothing fuses, take several times as long.
    forward, image, seconds = GraphFunction(lambda images: detector.features(images).maps), tf.zeros([1, *size, 3]), []
    for _ in range(_TIMES):
        started = time.perf_counter()
        _ = [features.numpy() for features in forward(image).values()]  # waits for the device
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def _devices() -> int:
    """Devices that work at the same time; replicas on one CPU share its cores."""
    devices = [device for kind in ("GPU", "TPU") for device in tf.config.list_logical_devices(kind)]
    return tf.distribute.get_strategy().num_replicas_in_sync if devices else 1
