"""Anchors as an argument of heads; `geometry/anchors.py` computes them."""

from __future__ import annotations

from collections.abc import Sequence

import gin
import tensorflow as tf

from tf_frozen.config.ranges import PositiveFloat, PositiveLayerCount
from tf_frozen.config.serializable import Serializable
from tf_frozen.errors import ConfigError
from tf_frozen.geometry.anchors import pyramid_anchors
from tf_frozen.keras_flavor import keras


@gin.configurable
@keras.utils.register_keras_serializable("tf_frozen")
class Anchors(Serializable):
    """Anchors of octaves × len(ratios) shapes at every place of a pyramid.

    An anchor's side is scale·2^level·2^(octave/octaves) pixels of the frame; a ratio is width / height. Raises
    ConfigError if `ratios` is empty.
    """

    def __init__(
        self,
        scale: PositiveFloat = 4.0,
        octaves: PositiveLayerCount = 3,
        ratios: Sequence[PositiveFloat] = (0.5, 1.0, 2.0),
    ):
        if not ratios:
            raise ConfigError("Anchors.ratios is empty; give at least one ratio of width to height, such as (1.0,).")
        self.scale, self.octaves, self.ratios = scale, octaves, tuple(ratios)

    @property
    def per_place(self) -> int:
        """The number of anchors at a cell's centre."""
        return self.octaves * len(self.ratios)

    def __call__(self, frame: tuple[int, int], levels: Sequence[int]) -> dict[int, tf.Tensor]:
        """The anchors {level: [h·w·A, 4]} float32 for frames of (height, width) pixels."""
        return pyramid_anchors(frame, levels, self.scale, self.octaves, self.ratios)
