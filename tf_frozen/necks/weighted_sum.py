"""A sum of maps by learned weights, as EfficientDet fuses levels (Tan et al. 2020, arXiv 1911.09070, section 3.3)."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from tf_frozen.keras_flavor import keras
from tf_frozen.layers.configured import ConfiguredLayer

_EPSILON = 1e-4


def _fast(weights: tf.Tensor) -> tf.Tensor:
    positive = tf.nn.relu(weights)
    return positive / (tf.reduce_sum(positive) + _EPSILON)


_SHARES = {"fast": _fast, "softmax": tf.nn.softmax, "sum": None}
FUSIONS = tuple(_SHARES)


@keras.utils.register_keras_serializable("tf_frozen")
class WeightedSum(ConfiguredLayer):
    """Adds maps of one shape, each multiplied by its share: one learned float32 scalar an input, 1 at first.

    A share is relu(w) / (Σ relu(w) + 1e-4) for `fusion` "fast" and softmax(w) for "softmax"; "sum" learns nothing and
    adds the maps as they are.
    """

    def __init__(self, fusion: str = "fast", **kwargs):
        super().__init__(**kwargs)
        self.fusion = fusion

    def build(self, input_shape: Sequence[tf.TensorShape]) -> None:
        """Creates one weight for each input."""
        self.weight = None
        if _SHARES[self.fusion] is not None:
            self.weight = self.add_weight(
                name="weight",
                shape=[len(input_shape)],
                dtype=tf.float32,
                initializer="ones",
                experimental_autocast=False,
            )
        super().build(input_shape)

    def call(self, inputs: Sequence[tf.Tensor]) -> tf.Tensor:
        """Sums the inputs."""
        if self.weight is None:
            return tf.add_n(inputs)
        shares = tf.cast(_SHARES[self.fusion](self.weight), inputs[0].dtype)
        return tf.add_n([x * share for x, share in zip(inputs, tf.unstack(shares), strict=True)])
