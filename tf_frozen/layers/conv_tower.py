"""The convolutions that a dense head runs over every level of a pyramid, with separate norms for each level."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from tf_frozen.keras_flavor import keras
from tf_frozen.layers.configured import ConfiguredLayer
from tf_frozen.layers.conv_block import conv
from tf_frozen.layers.norm import copy_of


@keras.utils.register_keras_serializable("tf_frozen")
class ConvTower(ConfiguredLayer):
    """`convs` times 3×3 convolution, norm, activation: {level: [batch, h, w, c]} → {level: [batch, h, w, filters]}.

    The convolutions are the same on every level; each level has separate norms, as batch statistics differ between
    levels and one moving average can't fit them all. With `bias` convolutions have one also where a norm follows, as
    the published networks do (Model Garden, google/automl). Kernels start with the variance `scale` / fan out.
    """

    def __init__(
        self,
        filters: int,
        convs: int,
        norm: keras.layers.Layer | None = None,
        activation: str = "swish",
        separable: bool = False,
        bias: bool = True,
        scale: float = 2.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.filters, self.convs, self.separable = filters, convs, separable
        self.norm, self.activation, self.bias, self.scale = norm, activation, bias, scale
        self.activate = keras.activations.get(activation)
        self.hidden = [conv(filters, 3, separable, bias, f"conv_{index}", scale=scale) for index in range(convs)]

    def build(self, input_shape: Mapping[int, tf.TensorShape]) -> None:
        """Creates the norms, one for each convolution and level."""
        # Keras saves the layers of a flat dict with string keys, and silently none of a nested one.
        self.norms = {}
        if self.norm is not None:
            for level in input_shape:
                for index in range(self.convs):
                    self.norms[f"{level}_{index}"] = copy_of(self.norm, f"conv_{index}_norm_{level}")
        super().build(input_shape)

    def call(self, pyramid: Mapping[int, tf.Tensor], training: bool | None = None) -> dict[int, tf.Tensor]:
        """Runs the convolutions on every level."""
        return {level: self._run(x, level, training) for level, x in pyramid.items()}

    def _run(self, x: tf.Tensor, level: int, training: bool | None) -> tf.Tensor:
        for index, hidden in enumerate(self.hidden):
            x = hidden(x)
            if self.norm is not None:
                x = self.norms[f"{level}_{index}"](x, training=training)
            x = self.activate(x)
        return x
