"""Creates a detector's variables without running it, and optionally without memory for their values."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf
from tensorflow.python.ops.resource_variable_ops import UninitializedVariable  # TensorFlow has no public name for it

from tf_frozen.errors import ConfigError
from tf_frozen.keras_flavor import keras


@contextlib.contextmanager
def unallocated() -> Iterator[None]:
    """New variables have a shape and a type but no value, so that a large model can be counted without its memory.

    Such a model can be traced but not run. Backbones load no weights into it.
    """

    def create(next_creator: Callable[..., tf.Variable], **arguments: Any) -> tf.Variable:
        shape = arguments["shape"]
        # Keras makes its counters from their values, and reads the mean of an image's channels while it builds.
        if shape is None or tf.TensorShape(shape).num_elements() <= 3:
            return next_creator(**arguments)
        kept = {name: arguments[name] for name in ("shape", "dtype", "trainable", "name")}
        return UninitializedVariable(**kept)

    with tf.variable_creator_scope(create):
        yield


def is_allocated(model: keras.Model) -> bool:
    """Whether the variables of a model have values, as they do unless it was made under `unallocated`."""
    return not any(isinstance(variable, UninitializedVariable) for variable in model.variables)


def build(detector: keras.Model) -> None:
    """Makes the variables of a detector by tracing one forward pass on a frame [1, height, width, 3], run nowhere.

    Raises ConfigError where a layer refuses the shapes that it gets, as `GroupNorm` does where its groups do not divide
    the channels.
    """
    try:
        _trace(tf.autograph.experimental.do_not_convert(detector.detect_once), detector.frame)
    except tf.errors.OperatorNotAllowedInGraphError:  # the control flow of a layer depends on tensors
        _trace(detector.detect_once, detector.frame)
    except ValueError as error:
        raise ConfigError(f"The detector cannot be built: {_in_short(error)}") from error
    detector.built = True


def _trace(function: Callable, frame: tuple[int, int]) -> None:
    with tf.__internal__.FuncGraph("build").as_default():
        function(tf.zeros([1, *frame, 3]))


def _in_short(error: ValueError) -> str:
    """The layer and the reason, without its arguments and the quoted code in which Keras and AutoGraph place it."""
    first, *rest = filter(None, str(error).splitlines())
    reasons = re.findall(r"^ +(?:\w+Error): (.+)$", "\n".join(rest), re.MULTILINE) or rest[:1]
    places = re.findall(r"type (\w+)\)\.$", first)
    return f"{places[0]}: {reasons[-1]}" if places and reasons else str(error)
