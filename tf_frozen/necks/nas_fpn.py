"""NAS-FPN: a feature pyramid network found by architecture search (Ghiasi et al. 2019, arXiv 1904.07392, figure 6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import gin
import tensorflow as tf

from tf_frozen.config.ranges import Level, PositiveLayerCount, Width
from tf_frozen.keras_flavor import keras
from tf_frozen.layers.conv_block import conv
from tf_frozen.layers.norm import copy_of, default_norm
from tf_frozen.necks.block_specs import PAPER_BLOCK_SPECS, Node, as_tuples, nodes_of
from tf_frozen.necks.bottleneck import Bottleneck
from tf_frozen.necks.neck import Neck
from tf_frozen.necks.resample import max_pool, size_of, upsample


@gin.configurable
@keras.utils.register_keras_serializable("tf_frozen")
class NASFPN(Neck):
    """Maps a backbone's pyramid to levels `min_level` … `max_level`, each [batch, h, w, filters], by repeated cells.

    `block_specs` wires a cell (see PAPER_BLOCK_SPECS). Levels above the backbone's highest are max-pooled from the
    level below. With `bottleneck`, nodes are residual blocks that give 4·`filters` channels, which are projected
    back at the input of the next node; the neck's outputs keep them (the B7 of "Simple Copy-Paste", arXiv
    2012.07177, as its authors released it). Raises ConfigError when an argument is impossible, when the specs and the
    levels do not fit, or the pyramid and the levels.
    """

    def __init__(
        self,
        filters: Width = 256,
        repeats: PositiveLayerCount = 5,
        min_level: Level = 3,
        max_level: Level = 7,
        block_specs: Sequence[tuple] = PAPER_BLOCK_SPECS,
        activation: str = "swish",
        norm: keras.layers.Layer | None = None,
        separable: bool = False,
        bottleneck: bool = False,
        **kwargs,
    ):
        super().__init__(filters, min_level, max_level, **kwargs)
        self.repeats, self.separable, self.bottleneck = repeats, separable, bottleneck
        self.block_specs = as_tuples(block_specs)
        self.activation, self.activate = activation, keras.activations.get(activation)
        self.norm = norm if norm is not None else default_norm()
        self.nodes = tuple(nodes_of(self.block_specs, len(self.levels)))

    def build(self, input_shape: Mapping[int, tf.TensorShape]) -> None:
        """Creates the 1×1 projections that channels need, and one convolution and norm for each node."""
        names = [str(level) for level in self.levels_in(input_shape) if input_shape[level][-1] != self.filters]
        names += self._edges() if self.bottleneck else []
        # Keras tracks a dict of layers only under string keys.
        self.projections = {name: conv(self.filters, 1, self.separable, name=f"project_{name}") for name in names}
        self.projection_norms = {name: copy_of(self.norm, f"project_{name}_norm") for name in names}
        names = [f"cell_{repeat}_node_{node}" for repeat in range(self.repeats) for node in range(len(self.nodes))]
        if self.bottleneck:
            arguments = self.filters, self.norm, self.activation, self.separable
            self.convs = [Bottleneck(*arguments, name=name) for name in names]
        else:
            self.convs = [conv(self.filters, 3, self.separable, name=name) for name in names]
            self.norms = [copy_of(self.norm, f"{name}_norm") for name in names]
        super().build(input_shape)

    def _edges(self) -> list[str]:
        """The names of all that nodes take in from nodes of the same cell or the one before."""
        return [
            f"{repeat}_{index}_{place}"
            for repeat in range(self.repeats)
            for index, node in enumerate(self.nodes)
            for place, i in enumerate(node.inputs + node.leftovers)
            if repeat or i >= len(self.levels)
        ]

    def call(self, pyramid: Mapping[int, tf.Tensor], training: bool | None = None) -> dict[int, tf.Tensor]:
        """Fuses the levels `repeats` times."""
        maps = [self._project(pyramid[level], str(level), training) for level in self.levels_in(pyramid)]
        while len(maps) < len(self.levels):
            maps.append(max_pool(maps[-1]))
        sizes = [size_of(x) for x in maps]
        for repeat in range(self.repeats):
            maps = self._run_cell(maps, sizes, repeat, training)
        return dict(zip(self.levels, maps, strict=True))

    def _project(self, x: tf.Tensor, name: str, training) -> tf.Tensor:
        if name not in self.projections:
            return x
        return self.projection_norms[name](self.projections[name](x), training=training)

    def _run_cell(self, maps: list[tf.Tensor], sizes: list[tf.Tensor], repeat: int, training) -> list[tf.Tensor]:
        maps, steps = list(maps), list(range(len(maps)))
        for index, node in enumerate(self.nodes):
            taken = []
            for place, i in enumerate(node.inputs + node.leftovers):
                x = self._project(maps[i], f"{repeat}_{index}_{place}", training)
                taken.append(_resample(x, steps[i], node.step, sizes[node.step]))
            layer = repeat * len(self.nodes) + index
            x = self.convs[layer](self.activate(_combine(node, steps, taken)))
            maps.append(x if self.bottleneck else self.norms[layer](x, training=training))
            steps.append(node.step)
        outputs = dict(zip(steps[-len(sizes) :], maps[-len(sizes) :], strict=True))
        return [outputs[step] for step in range(len(sizes))]


def _combine(node: Node, steps: list[int], taken: list[tf.Tensor]) -> tf.Tensor:
    """Sums a node's inputs, or the coarser one and the finer one times its attention, and adds the leftovers."""
    first, second, *leftovers = taken
    if node.operation == "attention":
        if steps[node.inputs[0]] < steps[node.inputs[1]]:
            first, second = second, first
        second = second * tf.sigmoid(tf.reduce_max(first, [1, 2], keepdims=True))
    return tf.add_n([first, second, *leftovers])


def _resample(x: tf.Tensor, step: int, target: int, size: tf.Tensor) -> tf.Tensor:
    """Moves a map to another level: nearest neighbour on the way down to finer maps, max-pool on the way up."""
    if step > target:
        return upsample(x, size)
    return max_pool(x, 2 ** (target - step)) if step < target else x
