"""Non-maximum suppression of detections, as an argument of heads; `geometry/nms.py` computes it."""

from __future__ import annotations

import gin
import tensorflow as tf

from tf_frozen.config.ranges import Fraction, NonNegativeFloat, PositiveInt
from tf_frozen.config.serializable import Serializable
from tf_frozen.geometry.nms import batched_nms, batched_soft_nms, best_candidates, gather_detections
from tf_frozen.keras_flavor import keras


@gin.configurable
@keras.utils.register_keras_serializable("tf_frozen")
class NMS(Serializable):
    """Keeps the best `detections` of an image with scores above `score_threshold`, of the `candidates` best.

    A box is dropped if its IoU with a better one of its class, or of any class if `class_agnostic`, is above `iou`. A
    `soft_sigma` above 0 is Soft-NMS (see `batched_soft_nms`), which lowers scores instead of cutting at `iou`.
    """

    def __init__(
        self,
        iou: Fraction = 0.5,
        score_threshold: Fraction = 0.05,
        candidates: PositiveInt = 5000,
        detections: PositiveInt = 100,
        soft_sigma: NonNegativeFloat = 0.0,
        class_agnostic: bool = False,
    ):
        self.iou, self.score_threshold = iou, score_threshold
        self.candidates, self.detections = candidates, detections
        self.soft_sigma, self.class_agnostic = soft_sigma, class_agnostic

    def __call__(self, boxes: tf.Tensor, scores: tf.Tensor, classes: tf.Tensor) -> dict[str, tf.Tensor]:
        """The detections of boxes [B, n, 4] with scores [B, n] and classes [B, n] int32 in 1…K, all of which compete.

        Returns boxes [B, detections, 4], scores [B, detections], classes [B, detections] int32 and count [B] int32;
        rows from count on are zeros.
        """
        groups = tf.zeros_like(classes) if self.class_agnostic else classes
        limits = self.detections, self.score_threshold
        if self.soft_sigma > 0.0:
            kept, valid, lowered = batched_soft_nms(boxes, scores, groups, self.soft_sigma, *limits)
            found = gather_detections(boxes, scores, classes, kept, valid)
            return {**found, "scores": tf.where(valid, lowered, 0.0)}
        kept, valid = batched_nms(boxes, scores, groups, self.iou, *limits)
        return gather_detections(boxes, scores, classes, kept, valid)

    def select(self, boxes: tf.Tensor, probabilities: tf.Tensor) -> dict[str, tf.Tensor]:
        """The detections of an image's `candidates` largest probabilities [B, n, K], without the background's.

        `boxes` are [B, n, 4], or [B, n, K, 4] when every class has its own box.
        """
        return self(*best_candidates(boxes, probabilities, self.candidates))
