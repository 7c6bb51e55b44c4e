"""A `tf.function` that is traced without AutoGraph where its code allows it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf


class GraphFunction:
    """A `tf.function` whose Python control flow AutoGraph converts only where that depends on tensors.

    AutoGraph makes tracing about three times as long. This library spells out its control flow, but a layer of a
    user's may not: the function is then traced once more, with AutoGraph. `options` are those of `tf.function`.
    """

    def __init__(self, function: Callable, **options: Any):
        self.python_function, self._options = function, options
        self._function = tf.function(function, autograph=False, **options)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the function, which traces it for arguments of a new signature."""
        return self._or_converted(lambda function: function(*args, **kwargs))

    def get_concrete_function(self, *args: Any, **kwargs: Any) -> tf.types.experimental.ConcreteFunction:
        """The graph for arguments of this signature, as of a `tf.function`."""
        return self._or_converted(lambda function: function.get_concrete_function(*args, **kwargs))

    def _or_converted(self, call: Callable[[Callable], Any]) -> Any:
        try:
            return call(self._function)
        except tf.errors.OperatorNotAllowedInGraphError:  # raised while tracing: nothing has run
            self._function = tf.function(self.python_function, **self._options)
            return call(self._function)
