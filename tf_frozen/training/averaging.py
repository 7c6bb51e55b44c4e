"""Scoring with the moving averages of the weights that Keras's optimizers keep (`use_ema`)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from tf_frozen.keras_flavor import keras


@contextlib.contextmanager
def averaged_weights(detector: keras.Model, optimizer: keras.optimizers.Optimizer) -> Iterator[None]:
    """Puts the averages in the place of the trained weights, and the weights back at the end; nothing without EMA."""
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
