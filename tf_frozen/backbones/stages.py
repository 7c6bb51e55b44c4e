"""The stages of a functional network: which layers each has, and how to run those that train apart from the others."""

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
    """A functional network cut at its taps: stage k is what the tap of level k needs and no lower tap does.

    Taps where the network can't be cut, since a later tap also reads what lies before, run together with the next one
    that allows it. A run of stages of which no weight trains runs in inference mode, whatever is asked for.
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
        for level, tap in self._taps.items():
            new = [layer for layer in _before([tap], ()).layers if id(layer) not in seen]
            seen.update(map(id, new))
            for name, layer in _named(sorted(new, key=lambda layer: order[id(layer)])):
                found.setdefault(f"stage_{level}/{name}", layer)
        return found

    @property
    def trains_in_part(self) -> bool:
        """Whether some layers of the network train and others with weights do not."""
        trains = {bool(layer.trainable_weights) for layer in self._network.layers if layer.weights}
        return len(trains) == 2

    def begin(self, images: tf.Tensor) -> dict[int, tf.Tensor]:
        """The taps, from the lowest on, that no weight that trains comes before, by level."""
        frozen = []
        for piece in self._pieces:
            if piece.model.trainable_weights:
                break
            frozen.append(piece)
        return _run(frozen, images, {}, training=False)

    def finish(self, images: tf.Tensor, begun: dict[int, tf.Tensor], training: bool | None) -> dict[int, tf.Tensor]:
        """All taps, of which `begun` are there already."""
        rest = [piece for piece in self._pieces if piece.levels[-1] not in begun]
        return _run(rest, images, begun, training)

    @property
    def _taps(self) -> dict[int, Any]:
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
        taps = self._taps
        above = [tap for other, tap in taps.items() if other > level]
        below = {id(tap) for other, tap in taps.items() if other <= level}
        return not any(isinstance(layer, keras.layers.InputLayer) for layer in _before(above, below).layers)

    def _piece(self, levels: tuple[int, ...], done: Sequence[int]) -> _Piece:
        taps = self._taps
        outputs = [taps[level] for level in levels]
        read = _before(outputs, {id(taps[level]) for level in done}).read
        sources = tuple(level for level in done if id(taps[level]) in read)
        inputs = [taps[level] for level in sources] or self._network.inputs
        return _Piece(levels, sources, keras.Model(inputs, outputs))


class _Piece(NamedTuple):
    """What makes the taps of `levels` out of those of `sources`, or out of the images where there are none."""

    levels: tuple[int, ...]
    sources: tuple[int, ...]
    model: keras.Model


class _Ancestors(NamedTuple):
    layers: list[keras.layers.Layer]
    read: set[int]  # ids of the tensors at which the search stopped


def _run(
    pieces: Iterable[_Piece], images: tf.Tensor, begun: dict[int, tf.Tensor], training: bool | None
) -> dict[int, tf.Tensor]:
    maps = dict(begun)
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
