"""Separate learning rates for parts of a detector."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import tensorflow as tf

from tf_frozen.errors import ConfigError
from tf_frozen.keras_flavor import keras


def factors(rates: Sequence[tuple[str, float]], paths: Mapping[str, tf.Variable]) -> list[tuple[tf.Variable, float]]:
    """The variables that one of the patterns matches, each with the factor of the first that does.

    `rates` are (regular expression of whole variable paths, factor of the learning rate), as ('backbone/.*', 0.1).
    Raises ConfigError for a pattern that matches nothing.
    """
    found: dict[str, float] = {}
    for pattern, factor in rates:
        matched = [path for path in paths if re.fullmatch(pattern, path)]
        if not matched:
            raise ConfigError(f"Run.rates: {pattern!r} matches no variable. Whole paths must match, as 'backbone/.*'.")
        found = {**dict.fromkeys(matched, float(factor)), **found}
    return [(paths[path], factor) for path, factor in found.items()]


def scale_updates(
    optimizer: keras.optimizers.Optimizer, scaled: Sequence[tuple[tf.Variable, float]]
) -> keras.optimizers.Optimizer:
    """Scales the updates of these variables by the factors given; returns the optimizer.

    The update is scaled and not the gradient, which Adam divides by its size. Decay of weights is scaled too.
    """
    key, update, decay = optimizer._var_key, optimizer.update_step, optimizer._apply_weight_decay
    by_key = {key(variable): factor for variable, factor in scaled}

    def update_step(gradient: tf.Tensor, variable: tf.Variable) -> None:
        factor = by_key.get(key(variable), 1.0)
        before = tf.identity(variable) if factor != 1 else None
        update(gradient, variable)
        if factor != 1:
            variable.assign(before + factor * (variable - before))

    def apply_weight_decay(variables: Sequence[tf.Variable]) -> None:
        whole = optimizer.weight_decay
        if whole is None:
            return
        try:
            for factor in {1.0, *by_key.values()}:
                optimizer.weight_decay = whole * factor
                decay([variable for variable in variables if by_key.get(key(variable), 1.0) == factor])
        finally:
            optimizer.weight_decay = whole

    optimizer.update_step, optimizer._apply_weight_decay = update_step, apply_weight_decay
    return optimizer
