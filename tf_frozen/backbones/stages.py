"""Splits a functional network into stages, so that frozen and trained layers can run separately."""

from __future__ import annotations

import collections
import re
from collections.abc import Container, Iterable, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import tensorflow as tf

from tf_frozen.keras_flavor import keras
from tf_frozen.layers.names import is_numbered_by_keras


class Stages:
    """A functional network split at its feature maps: stage k has the layers that map k is the first to need.

    Where the network cannot be split, since a later map also reads an earlier tensor, stages run together. Consecutive
    stages without a trainable weight run in inference mode, whatever `training` is.
    """

    def __init__(self, network: keras.Model, levels: Sequence[int]):
        self._network, self._levels = network, tuple(levels)

    @property
    def layers(self) -> dict[str, keras.layers.Layer]:
        """Every layer by its stage and its name, as 'stage_3/stem_conv'; the same in every process.

        A layer that was given no name is called after its class and its place in the stage, as 'stage_4/conv2d_2'.
        """
        order = {id(layer): index for index, layer in enumerate(self._network.layers)}
        found: dict[str, keras.layers.Layer] = {}
        seen: set[int] = set()
        for level, output in self._outputs.items():
            new = [layer for layer in _before([output], ()).layers if id(layer) not in seen]
            seen.update(map(id, new))
            for name, layer in _named(sorted(new, key=lambda layer: order[id(layer)])):
                found.setdefault(f"stage_{level}/{name}", layer)
        return found

    @property
    def trains_in_part(self) -> bool:
        """Whether some layers of the network train and others with weights do not."""
        trains = {bool(layer.trainable_weights) for layer in self._network.layers if layer.weights}
        return len(trains) == 2

    def frozen_features(self, images: tf.Tensor) -> dict[int, tf.Tensor]:
        """The feature maps by level, from the lowest on, that depend on no trainable weight."""
        frozen = []
        for piece in self._pieces:
            if piece.model.trainable_weights:
                break
            frozen.append(piece)
        return _run(frozen, images, {}, training=False)

    def features(self, images: tf.Tensor, frozen: dict[int, tf.Tensor], training: bool | None) -> dict[int, tf.Tensor]:
        """All feature maps by level; those in `frozen` are not computed again."""
        rest = [piece for piece in self._pieces if piece.levels[-1] not in frozen]
        return _run(rest, images, frozen, training)

    @property
    def _outputs(self) -> dict[int, Any]:
        return dict(zip(self._levels, self._network.outputs, strict=True))

    @cached_property
    def _pieces(self) -> list[_Piece]:
        pieces, done, waiting = [], [], []
        for level in self._levels:
            waiting.append(level)
            if self._can_cut_above(level):
                pieces.append(self._piece(tuple(waiting), done))
                done, waiting = [*done, *waiting], []
        return pieces

    def _can_cut_above(self, level: int) -> bool:
        above = [output for other, output in self._outputs.items() if other > level]
        below = {id(output) for other, output in self._outputs.items() if other <= level}
        return not any(isinstance(layer, keras.layers.InputLayer) for layer in _before(above, below).layers)

    def _piece(self, levels: tuple[int, ...], done: Sequence[int]) -> _Piece:
        maps = self._outputs
        outputs = [maps[level] for level in levels]
        read = _before(outputs, {id(maps[level]) for level in done}).read
        sources = tuple(level for level in done if id(maps[level]) in read)
        inputs = [maps[level] for level in sources] or self._network.inputs
        return _Piece(levels, sources, keras.Model(inputs, outputs))


class _Piece(NamedTuple):
    """Computes the maps of `levels` from those of `sources`, or from the images where there are no sources."""

    levels: tuple[int, ...]
    sources: tuple[int, ...]
    model: keras.Model


class _Ancestors(NamedTuple):
    layers: list[keras.layers.Layer]
    read: set[int]  # ids of the tensors at which the search stopped


def _run(
    pieces: Iterable[_Piece], images: tf.Tensor, known: dict[int, tf.Tensor], training: bool | None
) -> dict[int, tf.Tensor]:
    maps = dict(known)
    for piece in pieces:
        inputs = [maps[level] for level in piece.sources] or images
        outputs = piece.model(inputs, training=training and bool(piece.model.trainable_weights))
        maps.update(zip(piece.levels, tf.nest.flatten(outputs), strict=True))
    return maps


def _before(tensors: Iterable[Any], stops: Container[int]) -> _Ancestors:
    """The layers that make these tensors of a network, back to the tensors whose ids are `stops` or to the input."""
    layers: dict[int, keras.layers.Layer] = {}
    read, seen, waiting = set(), set(), list(tensors)
    while waiting:
        tensor = waiting.pop()
        if id(tensor) in stops:
            read.add(id(tensor))
        elif id(tensor.node) not in seen:
            seen.add(id(tensor.node))
            layers[id(tensor.node.layer)] = tensor.node.layer
            waiting.extend(tensor.node.keras_inputs)
    return _Ancestors(list(layers.values()), read)


def _named(layers: Iterable[keras.layers.Layer]) -> Iterable[tuple[str, keras.layers.Layer]]:
    count = collections.Counter()
    for layer in layers:
        name = layer.name.replace("/", ".")
        if is_numbered_by_keras(layer):
            base = re.sub(r"_\d+$", "", name)
            count[base] += 1
            name = f"{base}_{count[base]}"
        yield name, layer
