"""Means of a detector's losses over an epoch, as Keras reports them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from tf_frozen.keras_flavor import keras


class LossMeans:
    """Keeps one Keras metric for each loss by its name, created when the loss first occurs.

    It is not a layer, so that no checkpoint, fingerprint or count of a model's weights holds its variables.
    """

    def __init__(self):
        self._means: dict[str, keras.metrics.Mean] = {}

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """The metrics, for Keras to reset and read."""
        return list(self._means.values())

    def update(self, losses: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Takes in the scalar losses of a step; returns their means so far."""
        for name, loss in losses.items():
            if name not in self._means:
                with tf.init_scope(), tf.variable_creator_scope(_of_no_function):
                    self._means[name] = keras.metrics.Mean(name)
            self._means[name].update_state(loss)
        return {name: self._means[name].result() for name in losses}


def _of_no_function(next_creator: Callable[..., tf.Variable], **arguments: Any) -> tf.Variable:
    """Makes a variable that a `tf.function` does not take for its own: it traces a function that makes some twice."""
    return next_creator(**{**arguments, "experimental_enable_variable_lifting": False})
