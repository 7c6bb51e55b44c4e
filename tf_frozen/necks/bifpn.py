"""BiFPN: EfficientDet's feature pyramid network of two directions (Tan et al. 2020, arXiv 1911.09070, section 3)."""

from __future__ import annotations

from collections.abc import Mapping

import gin
import tensorflow as tf

from tf_frozen.config.ranges import Level, PositiveLayerCount, Width
from tf_frozen.errors import ConfigError
from tf_frozen.keras_flavor import keras
from tf_frozen.layers.conv_block import conv
from tf_frozen.layers.norm import copy_of, default_norm
from tf_frozen.necks.neck import Neck
from tf_frozen.necks.resample import max_pool, size_of, upsample
from tf_frozen.necks.weighted_sum import FUSIONS, WeightedSum

_DOWN, _UP = "down", "up"


@gin.configurable
@keras.utils.register_keras_serializable("tf_frozen")
class BiFPN(Neck):
    """Maps a backbone's pyramid to levels `min_level` … `max_level`, each [batch, h, w, filters], by repeated cells.

    A cell runs from the top down, then from the bottom up (figure 3, equation 4); a node is a weighted sum by `fusion`
    ("fast", "softmax" or "sum"), activation, 3×3 convolution and norm. The first level above the backbone's is its
    highest, projected to `filters`, after a 3×3 max-pool of stride 2; the next ones are pooled from the level below.
    Raises ConfigError when an argument is impossible or the pyramid does not fit.
    """

    def __init__(
        self,
        filters: Width = 64,
        repeats: PositiveLayerCount = 3,
        min_level: Level = 3,
        max_level: Level = 7,
        fusion: str = "fast",
        activation: str = "swish",
        norm: keras.layers.Layer | None = None,
        separable: bool = True,
        **kwargs,
    ):
        super().__init__(filters, min_level, max_level, **kwargs)
        self.repeats, self.fusion, self.separable = repeats, fusion, separable
        self.activation, self.activate = activation, keras.activations.get(activation)
        self.norm = norm if norm is not None else default_norm(epsilon=1e-3)  # google/automl's epsilon
        self.check_choice("fusion", fusion, FUSIONS)
        if min_level == max_level:
            raise ConfigError(f"BiFPN.min_level and BiFPN.max_level are {min_level}; it needs at least two levels.")

    def build(self, input_shape: Mapping[int, tf.TensorShape]) -> None:
        """Creates the projections that the backbone's channels need, and one sum, convolution and norm a node."""
        inner = self.levels_in(input_shape)
        wide = [level for level in inner if input_shape[level][-1] != self.filters]
        # The two uses that the first cell makes of a level have separate projections, as the authors' code has.
        projections = [f"{_DOWN}_{level}" for level in wide]
        projections += [f"{_UP}_{level}" for level in wide if level > self.min_level]
        if inner[-1] in wide and inner[-1] < self.max_level:
            projections.append(f"extra_{inner[-1] + 1}")
        self.projections = {name: conv(self.filters, 1, name=f"project_{name}") for name in projections}
        nodes = [f"{_DOWN}_{level}" for level in self.levels[:-1]] + [f"{_UP}_{level}" for level in self.levels[1:]]
        names = [f"cell_{repeat}_{node}" for repeat in range(self.repeats) for node in nodes]
        self.sums = {name: WeightedSum(self.fusion, name=f"{name}_sum") for name in names}
        self.convs = {name: conv(self.filters, 3, self.separable, name=name) for name in names}
        self.norms = {name: copy_of(self.norm, f"{name}_norm") for name in [*projections, *names]}
        super().build(input_shape)

    def call(self, pyramid: Mapping[int, tf.Tensor], training: bool | None = None) -> dict[int, tf.Tensor]:
        """Fuses the levels `repeats` times."""
        maps = {level: pyramid[level] for level in self.levels_in(pyramid)}
        for level in self.levels[len(maps) :]:
            maps[level] = max_pool(self._project(maps[level - 1], f"extra_{level}", training), 2, 3)
        down, up = (
            {level: self._project(x, f"{use}_{level}", training) for level, x in maps.items()} for use in (_DOWN, _UP)
        )
        for repeat in range(self.repeats):
            down = up = self._run_cell(down, up, f"cell_{repeat}", training)
        return down

    def _project(self, x: tf.Tensor, name: str, training) -> tf.Tensor:
        if name not in self.projections:
            return x
        return self.norms[name](self.projections[name](x), training=training)

    def _run_cell(self, down: dict[int, tf.Tensor], up: dict[int, tf.Tensor], cell: str, training):
        """Fuses levels whose maps come in once for each direction."""
        middle = {self.max_level: down[self.max_level]}
        for level in reversed(self.levels[:-1]):
            inputs = [down[level], upsample(middle[level + 1], size_of(down[level]))]
            middle[level] = self._node(inputs, f"{cell}_{_DOWN}_{level}", training)
        outputs = {self.min_level: middle[self.min_level]}
        for level in self.levels[1:]:
            own = [up[level]] if level == self.max_level else [up[level], middle[level]]
            inputs = [*own, max_pool(outputs[level - 1], 2, 3)]
            outputs[level] = self._node(inputs, f"{cell}_{_UP}_{level}", training)
        return outputs

    def _node(self, inputs: list[tf.Tensor], name: str, training) -> tf.Tensor:
        x = self.convs[name](self.activate(self.sums[name](inputs)))
        return self.norms[name](x, training=training)
