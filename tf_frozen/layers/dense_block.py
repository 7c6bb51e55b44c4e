"""Matrix product, normalization and activation as one layer, as box heads stack them."""

from __future__ import annotations

import tensorflow as tf

from tf_frozen.keras_flavor import keras
from tf_frozen.layers.configured import ConfiguredLayer
from tf_frozen.layers.conv_block import he_fan_out
from tf_frozen.layers.norm import copy_of


@keras.utils.register_keras_serializable("tf_frozen")
class DenseBlock(ConfiguredLayer):
    """Fully connected layer, norm, activation: [batch, features] → [batch, units]; with no norm a bias instead.

    The kernel is initialized with the variance `scale` / fan out.
    """

    def __init__(
        self,
        units: int,
        norm: keras.layers.Layer | None = None,
        activation: str = "relu",
        scale: float = 2.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.units, self.activation, self.scale = units, activation, scale
        self.norm = copy_of(norm, "norm") if norm is not None else None
        # A 1×1 convolution over [batch, 1, 1, features] computes the same, on a CPU about 12 times more slowly.
        self.dense = keras.layers.Dense(
            units, use_bias=norm is None, kernel_initializer=he_fan_out(scale), name="dense"
        )
        self.activate = keras.activations.get(activation)

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Applies the block."""
        outputs = self.dense(inputs)
        if self.norm is not None:
            outputs = self.norm(outputs, training=training)
        return self.activate(outputs)
