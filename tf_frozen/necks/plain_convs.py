"""Convolutions level by level instead of a neck: the ablation of the paper (arXiv 2204.00484)."""

from __future__ import annotations

from collections.abc import Mapping

import gin
import tensorflow as tf

from tf_frozen.config.ranges import Level, PositiveLayerCount, Width
from tf_frozen.keras_flavor import keras
from tf_frozen.layers.conv_block import ConvBlock
from tf_frozen.layers.norm import default_norm
from tf_frozen.necks.neck import Neck
from tf_frozen.necks.resample import max_pool


@gin.configurable
@keras.utils.register_keras_serializable("tf_frozen")
class PlainConvs(Neck):
    """Maps each level of a backbone to [batch, h, w, filters] by `convs` 3×3 convolutions, each level by itself.

    A norm and the activation follow each convolution (mmdetection calls a similar neck a channel mapper). Levels
    above the backbone's are max-pooled from the level below, so that heads find the levels that an FPN has; they
    learn nothing themselves. Raises ConfigError when an argument is impossible or the pyramid does not fit.
    """

    measured_on_frozen = (
        "It has less capacity than FPN, with which the paper's R101 reached 42.1 AP frozen and 48.6 fine-tuned "
        "(Table 1); in the paper's ablation a further convolution helps most where the backbone is frozen."
    )

    def __init__(
        self,
        filters: Width = 256,
        convs: PositiveLayerCount = 1,
        min_level: Level = 2,
        max_level: Level = 6,
        activation: str = "swish",
        norm: keras.layers.Layer | None = None,
        separable: bool = False,
        **kwargs,
    ):
        super().__init__(filters, min_level, max_level, **kwargs)
        self.convs, self.activation, self.separable = convs, activation, separable
        self.norm = norm if norm is not None else default_norm()

    def build(self, input_shape: Mapping[int, tf.TensorShape]) -> None:
        """Creates the convolutions of each level that the backbone has."""
        # Keras tracks a dict of layers only under string keys, and no list in it.
        self.blocks = {
            f"level_{level}_{index}": ConvBlock(self.filters, 3, self.norm, self.activation, self.separable)
            for level in self.levels_in(input_shape)
            for index in range(self.convs)
        }
        super().build(input_shape)

    def call(self, pyramid: Mapping[int, tf.Tensor], training: bool | None = None) -> dict[int, tf.Tensor]:
        """Convolves each level by itself."""
        maps = {}
        for level in self.levels_in(pyramid):
            maps[level] = pyramid[level]
            for index in range(self.convs):
                maps[level] = self.blocks[f"level_{level}_{index}"](maps[level], training=training)
        for level in self.levels[len(maps) :]:
            maps[level] = max_pool(maps[level - 1])
        return maps
