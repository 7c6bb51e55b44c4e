"""Non-maximum suppression of proposals within each level, as an argument of the region proposal."""

from __future__ import annotations

import gin
import tensorflow as tf

from tf_frozen.config.ranges import Fraction, PositiveInt
from tf_frozen.config.serializable import Serializable
from tf_frozen.geometry.nms import batched_nms
from tf_frozen.keras_flavor import keras


@gin.configurable
@keras.utils.register_keras_serializable("tf_frozen")
class ProposalNMS(Serializable):
    """Keeps those of a level's `candidates` best boxes whose IoU with every better one is at most `iou`.

    At most `proposals` remain in an image. Both counts are given as (training, inference).
    """

    def __init__(
        self,
        iou: Fraction = 0.7,
        candidates: tuple[PositiveInt, PositiveInt] = (2000, 1000),
        proposals: tuple[PositiveInt, PositiveInt] = (1000, 1000),
    ):
        self.iou, self.candidates, self.proposals = iou, tuple(candidates), tuple(proposals)

    def __call__(
        self, boxes: tf.Tensor, scores: tf.Tensor, levels: tf.Tensor, training: bool
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The proposals of boxes [B, n, 4] with scores [B, n] above 0: boxes [B, proposals, 4] and which are real.

        `levels` [B, n] int32 are those that the boxes come from; the candidates were chosen before.
        """
        index, valid = batched_nms(
            boxes, scores, levels, self.iou, self.proposals[0 if training else 1], score_threshold=0.0
        )
        return tf.gather(boxes, index, batch_dims=1) * tf.cast(valid, tf.float32)[..., tf.newaxis], valid
