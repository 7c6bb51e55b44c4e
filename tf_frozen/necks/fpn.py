"""FPN: a feature pyramid network (Lin et al. 2017, arXiv 1612.03144, section 3)."""

from __future__ import annotations

from collections.abc import Mapping

import gin
import tensorflow as tf

from tf_frozen.config.ranges import Level, Width
from tf_frozen.keras_flavor import keras
from tf_frozen.layers.conv_block import conv
from tf_frozen.layers.norm import copy_of, default_norm
from tf_frozen.necks.neck import Neck
from tf_frozen.necks.resample import size_of, upsample

_FUSIONS = ("sum", "concat")


@gin.configurable
@keras.utils.register_keras_serializable("tf_frozen")
class FPN(Neck):
    """Maps a backbone's pyramid to levels `min_level` … `max_level`, each [batch, h, w, filters], from the top down.

    Each level of the backbone is projected by a 1×1 convolution, takes in the level above, and goes through a 3×3
    convolution. Levels above the backbone's come from the one below by a 3×3 convolution of stride 2, with `activation`
    between two of them (RetinaNet, Lin et al. 2017, arXiv 1708.02002, footnote 2); each level ends in a norm. Raises
    ConfigError when an argument is impossible or the pyramid does not fit.
    """

    measured_on_frozen = (
        "The paper's ResNet-RS-101 with FPN reached 42.1 AP frozen and 48.6 fine-tuned (Table 1, ImageNet weights, 600 "
        "epochs on COCO)."
    )

    def __init__(
        self,
        filters: Width = 256,
        min_level: Level = 2,
        max_level: Level = 6,
        fusion: str = "sum",
        activation: str = "swish",
        norm: keras.layers.Layer | None = None,
        separable: bool = False,
        **kwargs,
    ):
        super().__init__(filters, min_level, max_level, **kwargs)
        self.fusion, self.separable = fusion, separable
        self.activation, self.activate = activation, keras.activations.get(activation)
        self.norm = norm if norm is not None else default_norm()
        self.check_choice("fusion", fusion, _FUSIONS)

    def build(self, input_shape: Mapping[int, tf.TensorShape]) -> None:
        """Creates a lateral and an output convolution for each level of the backbone, one for each level above."""
        # Keras tracks a dict of layers only under string keys.
        self.laterals, self.convs, self.extra, self.norms = {}, {}, {}, {}
        inner = self.levels_in(input_shape)
        for level in self.levels:
            key = str(level)
            if level in inner:
                self.laterals[key] = conv(self.filters, 1, self.separable, name=f"lateral_{level}")
                self.convs[key] = conv(self.filters, 3, self.separable, name=f"conv_{level}")
            else:
                self.extra[key] = conv(self.filters, 3, self.separable, stride=2, name=f"extra_{level}")
            self.norms[key] = copy_of(self.norm, f"norm_{level}")
        super().build(input_shape)

    def call(self, pyramid: Mapping[int, tf.Tensor], training: bool | None = None) -> dict[int, tf.Tensor]:
        """Fuses the levels."""
        maps = self._top_down(pyramid)
        maps = {level: self.convs[str(level)](x) for level, x in sorted(maps.items())}
        top = max(maps)
        for level in self.levels[len(maps) :]:
            below = maps[level - 1]
            maps[level] = self.extra[str(level)](self.activate(below) if level - 1 > top else below)
        return {level: self.norms[str(level)](x, training=training) for level, x in maps.items()}

    def _top_down(self, pyramid: Mapping[int, tf.Tensor]) -> dict[int, tf.Tensor]:
        maps, above = {}, None
        for level in reversed(self.levels_in(pyramid)):
            x = self.laterals[str(level)](pyramid[level])
            if above is not None:
                above = upsample(above, size_of(x))
                x = above + x if self.fusion == "sum" else tf.concat([above, x], -1)
            maps[level] = above = x
        return maps
