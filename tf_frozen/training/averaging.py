"""Weight averages of Keras optimizers (`use_ema`): their momentum, and scoring with them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import tensorflow as tf

from tf_frozen.keras_flavor import keras

_RAMP = 9


def ramp_momentum(
    optimizer: keras.optimizers.Optimizer, late: Sequence[tf.Variable] = (), begin: int = 0
) -> keras.optimizers.Optimizer:
    """Keeps untrained weights out of the averages of an optimizer, whatever the length of the training; returns it.

    A variable that has trained for t steps is averaged with the momentum min(ema_momentum, t / (t + 9)): the average
    starts as the weights after the first step and then covers the last tenth of the steps, until `ema_momentum` covers
    less. It is the rule of TensorFlow's ExponentialMovingAverage with `num_updates`, which EfficientDet's authors use,
    one step later, so that no initial weight remains. Steps are counted from 0, for the variables `late` from `begin`.
    """
    update, key = optimizer._update_model_variables_moving_average, optimizer._var_key
    late_keys = {key(variable) for variable in late}

    def ramped(variables: Sequence[tf.Variable]) -> None:
        most = optimizer.ema_momentum
        try:
            for is_late, start in ((False, 0), (True, begin)):
                steps = tf.cast(optimizer.iterations - start, tf.float32)
                optimizer.ema_momentum = tf.minimum(most, steps / (steps + _RAMP))  # Keras's update reads it
                update([variable for variable in variables if (key(variable) in late_keys) == is_late])
        finally:
            optimizer.ema_momentum = most

    optimizer._update_model_variables_moving_average = ramped
    return optimizer


@contextlib.contextmanager
def averaged_weights(detector: keras.Model, optimizer: keras.optimizers.Optimizer) -> Iterator[None]:
    """Replaces the trained weights by their averages, and puts them back at the end; nothing without EMA."""
    if not optimizer.use_ema:
        yield
        return
    variables = detector.trainable_variables
    trained = [variable.numpy() for variable in variables]
    optimizer.finalize_variable_values(variables)
    try:
        yield
    finally:
        for variable, value in zip(variables, trained, strict=True):
            variable.assign(value)
