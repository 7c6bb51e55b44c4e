"""Turns parts of a run that are given as instances into callables that return them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import tensorflow as tf

from tf_frozen.data.source import DataSource
from tf_frozen.detectors.detector import Detector
from tf_frozen.errors import ConfigError
from tf_frozen.evaluation.metric import Metric, check_metrics
from tf_frozen.keras_flavor import keras

_MAKE_IT = "Give a function that returns it, which the run calls in the right context: detector=lambda: ..."


def makes_data(part: DataSource | Callable[[], DataSource]) -> Callable[[], DataSource]:
    """Returns a callable as it is, and for data one that returns them."""
    return part if callable(part) else lambda: part


def makes_detector(part: Detector | Callable[[], Detector]) -> Callable[[], Detector]:
    """A callable is kept; a detector is what it gives, or a ConfigError where it does not fit how the run computes."""
    if not isinstance(part, keras.Model):
        return part

    def given() -> Detector:
        made, wanted = part.dtype_policy.name, keras.mixed_precision.global_policy().name
        if made != wanted:
            raise ConfigError(f"Run.precision is {wanted!r}, but the detector was made in {made!r}. {_MAKE_IT}")
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        if replicas > 1:
            raise ConfigError(f"The run trains on {replicas} devices, but the detector was made on one. {_MAKE_IT}")
        _check_trainable(part)
        return part

    return given


def _check_trainable(detector: Detector) -> None:
    """Raises ConfigError for a part that was set not trainable: it would train where a command opens the run."""
    parts = {name: layer for name, layer in vars(detector).items() if isinstance(layer, keras.layers.Layer)}
    held = [name for name, layer in parts.items() if name != "backbone" and not layer.trainable]
    if held:
        raise ConfigError(
            f"The detector's {' and '.join(held)} is set not trainable, which config.gin does not hold. Let the run "
            f"freeze it: policy=Policy([('{held[0]}/.*', 'frozen')])."
        )


def makes_optimizer(
    part: keras.optimizers.Optimizer | Callable[[], keras.optimizers.Optimizer],
) -> Callable[[], keras.optimizers.Optimizer]:
    """A callable is kept; of an optimizer it gives copies without state, one for each phase."""
    if not isinstance(part, keras.optimizers.Optimizer):
        return part
    config = part.get_config()
    return lambda: type(part).from_config(dict(config))


def made_metrics(parts: Sequence[Metric | Callable[[], Metric]]) -> list[Metric]:
    """Metrics are kept, callables called; ConfigError for anything else, or for metrics of the same figures."""
    metrics = [part if isinstance(part, Metric) else part() for part in parts]
    other = [metric for metric in metrics if not isinstance(metric, Metric)]
    if other:
        raise ConfigError(f"Run.metrics has {other[0]!r}; each must be a Metric, or a callable that makes one.")
    check_metrics(metrics)
    return metrics
