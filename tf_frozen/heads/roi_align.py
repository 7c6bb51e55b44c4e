"""RoIAlign as an argument of heads; `geometry/roi_align.py` computes it."""

from __future__ import annotations

from collections.abc import Mapping

import gin
import tensorflow as tf

from tf_frozen.config.ranges import PositiveInt
from tf_frozen.config.serializable import Serializable
from tf_frozen.geometry.roi_align import roi_align
from tf_frozen.keras_flavor import keras


@gin.configurable
@keras.utils.register_keras_serializable("tf_frozen")
class RoIAlign(Serializable):
    """Reads size × size bins of each box from a pyramid, at sampling × sampling points a bin.

    With `aligned` a cell's value belongs to its centre. Model Garden, and so the paper's models, have it at the upper
    left corner, half a cell off.
    """

    def __init__(self, size: PositiveInt = 7, sampling: PositiveInt = 1, aligned: bool = True):
        self.size, self.sampling, self.aligned = size, sampling, aligned

    def __call__(self, pyramid: Mapping[int, tf.Tensor], boxes: tf.Tensor) -> tf.Tensor:
        """Features [B, n, size, size, C] of boxes [B, n, 4] in pixels of the frame, in the pyramid's dtype."""
        return roi_align(pyramid, boxes, self.size, self.sampling, self.aligned)
