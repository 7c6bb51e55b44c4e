"""Convolution, normalization and activation as one layer, as heads stack them."""

from __future__ import annotations

import tensorflow as tf

from tf_frozen.keras_flavor import keras
from tf_frozen.layers.configured import ConfiguredLayer
from tf_frozen.layers.norm import copy_of


def he_fan_out(scale: float = 2.0) -> keras.initializers.Initializer:
    """The initializer of convolutions: normal, of variance scale / fan out (He et al. 2015, section 2.2: 2)."""
    return keras.initializers.VarianceScaling(scale=scale, mode="fan_out", distribution="untruncated_normal")


def conv(
    filters: int,
    size: int,
    separable: bool = False,
    bias: bool = True,
    name: str | None = None,
    stride: int = 1,
    scale: float = 2.0,
) -> keras.layers.Layer:
    """A same-padded convolution layer, dense or depthwise separable; `scale` is that of `he_fan_out`."""
    options = {"padding": "same", "use_bias": bias, "strides": stride, "name": name}
    if separable:
        return keras.layers.SeparableConv2D(
            filters, size, depthwise_initializer=he_fan_out(scale), pointwise_initializer=he_fan_out(scale), **options
        )
    return keras.layers.Conv2D(filters, size, kernel_initializer=he_fan_out(scale), **options)


@keras.utils.register_keras_serializable("tf_frozen")
class ConvBlock(ConfiguredLayer):
    """k×k convolution, norm, activation: [batch, h, w, c] → [batch, h, w, filters]; with no norm a bias instead."""

    def __init__(
        self,
        filters: int,
        kernel_size: int = 3,
        norm: keras.layers.Layer | None = None,
        activation: str = "relu",
        separable: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.filters, self.kernel_size, self.separable = filters, kernel_size, separable
        self.activation = activation
        self.norm = copy_of(norm, "norm") if norm is not None else None
        self.conv = conv(filters, kernel_size, separable, bias=norm is None, name="conv")
        self.activate = keras.activations.get(activation)

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Applies the block."""
        outputs = self.conv(inputs)
        if self.norm is not None:
            outputs = self.norm(outputs, training=training)
        return self.activate(outputs)
