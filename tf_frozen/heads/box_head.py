"""The second stage of a two-stage detector: classifies one RoI and refines its box."""

from __future__ import annotations

import gin
import tensorflow as tf

from tf_frozen.config.ranges import LayerCount, PositiveFloat, PositiveInt, Width
from tf_frozen.keras_flavor import keras
from tf_frozen.layers.configured import ConfiguredLayer
from tf_frozen.layers.conv_block import ConvBlock
from tf_frozen.layers.dense_block import DenseBlock


@gin.configurable
@keras.utils.register_keras_serializable("tf_frozen")
class BoxHead(ConfiguredLayer):
    """Convolutions, fully connected layers and two outputs, on RoI features [batch, n, size, size, channels].

    Class 0 is background, so `num_classes` foreground classes give num_classes + 1 logits. Class-agnostic boxes are
    one refinement a RoI, else there is one for each logit. `separable` applies to the convolutions. Kernels of fully
    connected layers are initialized with the variance `fc_scale` / fan out. Defaults: the official YAMLs (4
    convolutions, 2 FC).
    """

    def __init__(
        self,
        num_classes: PositiveInt,
        convs: LayerCount = 4,
        filters: Width = 256,
        fcs: LayerCount = 2,
        fc_units: Width = 1024,
        class_agnostic: bool = True,
        activation: str = "swish",
        norm: keras.layers.Layer | None = None,
        separable: bool = False,
        fc_scale: PositiveFloat = 2.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.num_classes, self.class_agnostic = num_classes, class_agnostic
        self.convs, self.filters, self.fcs, self.fc_units = convs, filters, fcs, fc_units
        self.activation, self.norm, self.separable, self.fc_scale = activation, norm, separable, fc_scale
        self.conv_blocks = [
            ConvBlock(filters, 3, norm, activation, separable, name=f"conv_{index}") for index in range(convs)
        ]
        self.fc_blocks = [DenseBlock(fc_units, norm, activation, fc_scale, name=f"fc_{index}") for index in range(fcs)]
        boxes = 1 if class_agnostic else num_classes + 1
        self.classes = keras.layers.Dense(num_classes + 1, kernel_initializer=_normal(0.01), name="classes")
        self.deltas = keras.layers.Dense(boxes * 4, kernel_initializer=_normal(0.001), name="deltas")

    def call(self, features: tf.Tensor, training: bool | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        """Gives class logits [batch, n, num_classes + 1] and deltas [batch, n, 1 or num_classes + 1, 4], float32."""
        count, (size, _, channels) = tf.shape(features)[:2], features.shape[2:]
        x = tf.reshape(features, [-1, size, size, channels])
        for block in self.conv_blocks:
            x = block(x, training=training)
        x = tf.reshape(x, [-1, size * size * x.shape[-1]])
        for block in self.fc_blocks:
            x = block(x, training=training)
        logits = tf.reshape(self.classes(x), [count[0], count[1], self.num_classes + 1])
        deltas = tf.reshape(self.deltas(x), [count[0], count[1], self.deltas.units // 4, 4])
        return tf.cast(logits, tf.float32), tf.cast(deltas, tf.float32)


def _normal(stddev: float) -> keras.initializers.Initializer:
    return keras.initializers.RandomNormal(stddev=stddev)
