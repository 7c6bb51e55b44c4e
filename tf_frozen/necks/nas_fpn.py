"""NAS-FPN: a feature pyramid network found by architecture search (Ghiasi et al. 2019, arXiv 1904.07392, figure 6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import gin
import tensorflow as tf

from tf_frozen.errors import ConfigError
from tf_frozen.keras_flavor import keras
from tf_frozen.layers.configured import ConfiguredLayer
from tf_frozen.layers.conv_block import conv
from tf_frozen.layers.norm import copy_of, paper_norm

# (step above the lowest level, operation, the two inputs, is an output). Inputs 0…4 are the five incoming levels from
# the lowest up, and each node appends one: the cell of the paper's figure 6 (7 nodes, AmoebaNet search).
PAPER_CELL = (
    (1, "attention", (1, 3), False),
    (1, "sum", (1, 5), False),
    (0, "sum", (0, 6), True),
    (1, "sum", (6, 7), True),
    (2, "attention", (7, 8), True),
    (4, "attention", (6, 9), True),
    (3, "attention", (9, 10), True),
)
_OPERATIONS = ("sum", "attention")


@gin.configurable
@keras.utils.register_keras_serializable("tf_frozen")
class NASFPN(ConfiguredLayer):
    """Maps a backbone's pyramid to levels `min_level` … `max_level`, each [batch, h, w, filters], by repeated cells.

    Levels above the backbone's highest are max-pooled from the level below. Raises ConfigError when the cell and the
    levels do not fit, or the pyramid lacks `min_level`.
    """

    def __init__(
        self,
        filters: int = 256,
        repeats: int = 5,
        min_level: int = 3,
        max_level: int = 7,
        cell: Sequence[tuple] = PAPER_CELL,
        activation: str = "swish",
        norm: keras.layers.Layer | None = None,
        separable: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.filters, self.repeats, self.separable = filters, repeats, separable
        self.min_level, self.max_level = min_level, max_level
        self.levels = tuple(range(min_level, max_level + 1))
        self.cell = tuple((step, operation, tuple(inputs), output) for step, operation, inputs, output in cell)
        self.activation, self.activate = activation, keras.activations.get(activation)
        self.norm = norm if norm is not None else paper_norm()
        _check_cell(self.cell, len(self.levels))

    def build(self, input_shape: Mapping[int, tf.TensorShape]) -> None:
        """Creates the 1×1 projections that channels need, and one convolution and norm for each node."""
        if self.min_level not in input_shape:
            raise ConfigError(
                f"NASFPN.min_level is {self.min_level}, but the pyramid that came in has levels {sorted(input_shape)}."
            )
        self.projections, self.projection_norms = {}, {}
        for level in self.levels:
            if level in input_shape and input_shape[level][-1] != self.filters:
                # Keras tracks a dict of layers only under string keys.
                self.projections[str(level)] = conv(self.filters, 1, self.separable, name=f"project_{level}")
                self.projection_norms[str(level)] = copy_of(self.norm, f"project_{level}_norm")
        names = [f"cell_{repeat}_node_{node}" for repeat in range(self.repeats) for node in range(len(self.cell))]
        self.convs = [conv(self.filters, 3, self.separable, name=name) for name in names]
        self.norms = [copy_of(self.norm, f"{name}_norm") for name in names]
        super().build(input_shape)

    def call(self, pyramid: Mapping[int, tf.Tensor], training: bool | None = None) -> dict[int, tf.Tensor]:
        """Fuses the levels `repeats` times."""
        sizes, maps = {}, []
        for level in self.levels:
            maps.append(self._input(pyramid, level, maps, training))
            sizes[level] = tf.shape(maps[-1])[1:3]
        for repeat in range(self.repeats):
            maps = self._run_cell(maps, sizes, repeat, training)
        return dict(zip(self.levels, maps, strict=True))

    def _input(self, pyramid, level: int, below: list[tf.Tensor], training) -> tf.Tensor:
        if level not in pyramid:
            return _pool(below[-1], 2)
        x = pyramid[level]
        if str(level) in self.projections:
            x = self.projection_norms[str(level)](self.projections[str(level)](x), training=training)
        return x

    def _run_cell(self, maps: list[tf.Tensor], sizes, repeat: int, training) -> list[tf.Tensor]:
        nodes, levels, consumed = list(maps), list(self.levels), [0] * len(maps)
        for index, (step, operation, inputs, is_output) in enumerate(self.cell):
            level = self.min_level + step
            first, second = (_resample(nodes[i], levels[i], level, sizes[level]) for i in inputs)
            if operation == "attention":
                if levels[inputs[0]] < levels[inputs[1]]:
                    first, second = second, first
                node = first + second * tf.sigmoid(tf.reduce_max(first, [1, 2], keepdims=True))
            else:
                node = first + second
            for i in inputs:
                consumed[i] += 1
            if is_output:
                for i, (other, other_level) in enumerate(zip(nodes, levels, strict=True)):
                    if not consumed[i] and other_level == level:
                        node, consumed[i] = node + other, 1
            layer = repeat * len(self.cell) + index
            node = self.norms[layer](self.convs[layer](self.activate(node)), training=training)
            nodes, levels, consumed = nodes + [node], levels + [level], consumed + [0]
        outputs = dict(zip(levels[-len(self.levels) :], nodes[-len(self.levels) :], strict=True))
        return [outputs[level] for level in self.levels]


def _resample(x: tf.Tensor, level: int, target: int, size: tf.Tensor) -> tf.Tensor:
    """Moves a map to another level: nearest neighbour on the way down to finer maps, max-pool on the way up."""
    if level > target:
        return tf.image.resize(x, size, "nearest")
    return _pool(x, 2 ** (target - level)) if level < target else x


def _pool(x: tf.Tensor, stride: int) -> tf.Tensor:
    return tf.nn.max_pool2d(x, stride, stride, "SAME")


def _check_cell(cell: tuple, levels: int) -> None:
    for index, (step, operation, inputs, _) in enumerate(cell):
        known = levels + index
        if operation not in _OPERATIONS or not 0 <= step < levels or not all(0 <= i < known for i in inputs):
            raise ConfigError(
                f"NASFPN.cell: node {index} is {cell[index]!r}; its step must lie in 0…{levels - 1}, its operation in "
                f"{_OPERATIONS} and its inputs in 0…{known - 1} (the levels and the nodes before it)."
            )
    if sorted(step for step, *_ in cell[-levels:]) != list(range(levels)):
        raise ConfigError(f"NASFPN.cell: its last {levels} nodes must be one for each of the {levels} levels.")
