"""Selects the frozen weights that a small checkpoint excludes, as they can be reloaded from their source."""

from __future__ import annotations

from collections.abc import Iterable

import tensorflow as tf

from tf_frozen.freezing.variable_paths import frozen_variables, variable_paths
from tf_frozen.keras_flavor import keras


def sourced(detector: keras.Model) -> dict[str, tf.Variable]:
    """Returns the backbone's variables by path if its weights have a source, without adapters, which have none."""
    backbone = getattr(detector, "backbone", None)
    if getattr(backbone, "weights_source", None) is None:
        return {}
    weights = {id(weight) for weight in backbone.weights} - set(map(id, getattr(backbone, "adapter_variables", ())))
    return {path: variable for path, variable in variable_paths(detector).items() if id(variable) in weights}


def obtainable(detector: keras.Model) -> dict[str, tf.Variable]:
    """Those of the `sourced` variables that are frozen, by path.

    Random weights, also frozen ones, and frozen weights outside the backbone have no source.
    """
    frozen = frozen_variables(detector)
    return {path: variable for path, variable in sourced(detector).items() if path in frozen}


def checkpoint_bytes(detector: keras.Model, optimizer_bytes: int) -> dict[str, int]:
    """Bytes of the tensors in a checkpoint: 'trained' without what is `obtainable`, 'everything' with it.

    `optimizer_bytes` are those of slots and averages (`savings.optimizer_bytes`). Counted from shapes alone.
    """
    everything = _bytes(detector.weights) + optimizer_bytes
    return {"trained": everything - _bytes(obtainable(detector).values()), "everything": everything}


def _bytes(variables: Iterable[tf.Variable]) -> int:
    return sum(variable.shape.num_elements() * variable.dtype.size for variable in variables)
