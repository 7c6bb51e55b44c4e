"""The residual bottleneck block, as a node of NAS-FPN (He et al. 2016, arXiv 1512.03385, figure 5)."""

from __future__ import annotations

import tensorflow as tf

from tf_frozen.keras_flavor import keras
from tf_frozen.layers.configured import ConfiguredLayer
from tf_frozen.layers.conv_block import ConvBlock

EXPANSION = 4


@keras.utils.register_keras_serializable("tf_frozen")
class Bottleneck(ConfiguredLayer):
    """1×1, 3×3 and 1×1 convolutions beside a projected shortcut: [batch, h, w, c] → [batch, h, w, 4·filters].

    The first two convolutions have `filters` channels; a norm follows each of them, and the activation follows all but
    the last and the sum.
    """

    def __init__(
        self,
        filters: int,
        norm: keras.layers.Layer,
        activation: str = "swish",
        separable: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.filters, self.norm, self.separable = filters, norm, separable
        self.activation, self.activate = activation, keras.activations.get(activation)
        wide = EXPANSION * filters
        self.blocks = [
            ConvBlock(filters, 1, norm, activation, name="reduce"),
            ConvBlock(filters, 3, norm, activation, separable, name="conv"),
            ConvBlock(wide, 1, norm, "linear", name="expand"),
        ]
        self.shortcut = ConvBlock(wide, 1, norm, "linear", name="shortcut")

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Applies the block."""
        x = inputs
        for block in self.blocks:
            x = block(x, training=training)
        return self.activate(x + self.shortcut(inputs, training=training))
