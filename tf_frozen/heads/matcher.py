"""Matching of anchors or RoIs with boxes, as an argument of heads; `geometry/matching.py` computes it."""

from __future__ import annotations

import gin
import tensorflow as tf

from tf_frozen.config.ranges import Fraction
from tf_frozen.config.serializable import Serializable
from tf_frozen.errors import ConfigError
from tf_frozen.geometry.matching import match_boxes
from tf_frozen.keras_flavor import keras


@gin.configurable
@keras.utils.register_keras_serializable("tf_frozen")
class Matcher(Serializable):
    """Assigns boxes to anchors with an IoU of at least `positive_iou`, and background to those below `negative_iou`.

    Anchors in between are ignored. With `force_match` the best anchor of each box gets it, whatever their IoU.
    Raises ConfigError where `negative_iou` is above `positive_iou`.
    """

    def __init__(self, positive_iou: Fraction = 0.5, negative_iou: Fraction = 0.5, force_match: bool = True):
        if negative_iou > positive_iou:
            raise ConfigError(
                f"Matcher.negative_iou is {negative_iou!r} and Matcher.positive_iou {positive_iou!r}; the first must "
                f"not be above the second."
            )
        self.positive_iou, self.negative_iou, self.force_match = positive_iou, negative_iou, force_match

    def __call__(self, rows: tf.Tensor, boxes: tf.Tensor, valid: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The box and the label of anchors [B or 1, n, 4], among boxes [B, m, 4] of which `valid` [B, m] are real.

        Returns index [B, n] int32 into the m boxes, and label [B, n] int32: 1 positive, 0 negative, −1 between.
        """
        return match_boxes(rows, boxes, valid, self.positive_iou, self.negative_iou, self.force_match)
