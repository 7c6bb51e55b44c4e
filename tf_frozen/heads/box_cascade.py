"""Cascade R-CNN's chain of box heads (Cai and Vasconcelos 2018, arXiv 1712.00726); one head makes it Faster R-CNN."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import gin
import tensorflow as tf

from tf_frozen.config.ranges import PositiveFloat, PositiveFraction
from tf_frozen.errors import ConfigError
from tf_frozen.geometry import boxes as box_ops
from tf_frozen.geometry.sampling import first
from tf_frozen.heads.balanced_sampler import BalancedSampler
from tf_frozen.heads.box_head import BoxHead
from tf_frozen.heads.matcher import Matcher
from tf_frozen.heads.nms import NMS
from tf_frozen.heads.roi_align import RoIAlign
from tf_frozen.heads.targets import checked
from tf_frozen.keras_flavor import keras
from tf_frozen.layers.configured import ConfiguredLayer
from tf_frozen.layers.norm import copy_of
from tf_frozen.losses.box_loss import BoxLoss
from tf_frozen.losses.class_loss import ClassLoss
from tf_frozen.losses.huber import Huber
from tf_frozen.losses.softmax_cross_entropy import SoftmaxCrossEntropy

SCORE_ENSEMBLES = ("probabilities", "logits", None)
LOSS_REDUCTIONS = ("mean", "sum")
CoderWeights = tuple[PositiveFloat, PositiveFloat, PositiveFloat, PositiveFloat]  # for y, x, height and width


class RoIs(NamedTuple):
    """Regions that a head learns from, and the ground truth that each of them overlaps enough."""

    boxes: tf.Tensor
    """[batch, n, 4] float32, pixels of the frame."""
    valid: tf.Tensor
    """[batch, n] bool; False is padding, or a box without area."""
    classes: tf.Tensor
    """[batch, n] int32 in 1…K, 0 for background and padding."""
    index: tf.Tensor
    """[batch, n] int32, the row of the ground truth; of no meaning where the class is 0."""


@gin.configurable
@keras.utils.register_keras_serializable("tf_frozen")
class BoxCascade(ConfiguredLayer):
    """N ≥ 1 box heads, each refining the boxes of the one before and trained at its own IoU threshold.

    Every stage is a copy of `head`. Boxes of a later stage are matched again, neither sampled nor mixed with ground
    truth (official YAMLs). `score_ensemble` is what is averaged over the stages: class 'probabilities' (the cascade's
    paper) or 'logits' (Model Garden); with None the scores are those of the last stage. `loss_reduction` over the
    stages is 'mean' (Model Garden) or 'sum' (detectron2). None stands for the defaults of the official YAMLs:
    `BalancedSampler(512, 0.25)`, `RoIAlign(7)`, `SoftmaxCrossEntropy()`, `Huber(1)` and `NMS()`. Raises ConfigError
    when `ious` and `coder_weights` differ in length or a value is invalid.
    """

    def __init__(
        self,
        head: BoxHead,
        ious: Sequence[PositiveFraction] = (0.5, 0.7, 0.8),
        coder_weights: Sequence[CoderWeights] = ((10, 10, 5, 5), (20, 20, 10, 10), (30, 30, 15, 15)),
        sampler: BalancedSampler | None = None,
        roi_align: RoIAlign | None = None,
        class_loss: ClassLoss | None = None,
        box_loss: BoxLoss | None = None,
        nms: NMS | None = None,
        score_ensemble: str | None = "probabilities",
        loss_reduction: str = "mean",
        **kwargs,
    ):
        # No autocast: half precision would round the boxes to whole pixels and worse. The heads cast for themselves.
        super().__init__(autocast=False, **kwargs)
        _check_stages(ious, coder_weights)
        _check_choice("score_ensemble", score_ensemble, SCORE_ENSEMBLES)
        _check_choice("loss_reduction", loss_reduction, LOSS_REDUCTIONS)
        self.head, self.ious = head, tuple(ious)
        self.coder_weights = tuple(tuple(weights) for weights in coder_weights)
        self.sampler = sampler or BalancedSampler(samples=512, positive_fraction=0.25)
        self.roi_align, self.nms = roi_align or RoIAlign(size=7), nms or NMS()
        self.class_loss, self.box_loss = class_loss or SoftmaxCrossEntropy(), box_loss or Huber(delta=1.0)
        self.score_ensemble, self.loss_reduction = score_ensemble, loss_reduction
        self.heads = [copy_of(head, f"head_{stage}") for stage in range(len(self.ious))]

    @property
    def detections(self) -> int:
        """The most that an image is given."""
        return self.nms.detections

    def call(self, inputs: tuple, training: bool | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        """Refines boxes: (pyramid, boxes [batch, n, 4], image_size [batch, 2]) → probabilities [batch, n, K], boxes.

        Boxes come back as [batch, n, 1, 4] if class-agnostic, else [batch, n, K, 4].
        """
        pyramid, boxes, image_size = inputs
        stages = []
        for stage in range(len(self.heads)):
            logits, deltas = self._run_head(stage, pyramid, boxes, training)
            stages.append(logits)
            refined = self._refine(stage, deltas, boxes, image_size)
            boxes = self._one_box_each(refined, logits)
        if not self.head.class_agnostic:
            refined = refined[:, :, 1:]
        return self._probabilities(stages), refined

    def detect(
        self, pyramid: Mapping[int, tf.Tensor], proposals: tf.Tensor, valid: tf.Tensor, image_size: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """The detections of each image: boxes [batch, D, 4], scores, classes 1…K (0 is padding) and count [batch]."""
        proposals, valid = box_ops.at_least_one(proposals, valid)
        probabilities, boxes = self((pyramid, proposals, image_size), training=False)
        probabilities *= tf.cast(valid, tf.float32)[..., tf.newaxis]
        boxes = boxes[:, :, 0] if self.head.class_agnostic else boxes
        return self.nms.select(boxes, probabilities)

    def loss_parts(
        self,
        pyramid: Mapping[int, tf.Tensor],
        proposals: tf.Tensor,
        valid: tf.Tensor,
        targets: Mapping[str, tf.Tensor],
        seed: tf.Tensor,
    ) -> dict[str, tf.Tensor]:
        """`class_loss` of all RoIs and `box_loss` of positive ones, over the stages: two scalars."""
        return self.losses_and_rois(pyramid, proposals, valid, targets, seed)[0]

    def losses_and_rois(
        self,
        pyramid: Mapping[int, tf.Tensor],
        proposals: tf.Tensor,
        valid: tf.Tensor,
        targets: Mapping[str, tf.Tensor],
        seed: tf.Tensor,
        training: bool = True,
    ) -> tuple[dict[str, tf.Tensor], RoIs]:
        """Returns `loss_parts`, and the RoIs of the last stage, on which a mask branch trains (Model Garden).

        Their boxes carry no gradient. `proposals` [batch, n, 4] and `valid` [batch, n] come from the region proposal;
        `seed` int32 [2] is the draw of the sample.
        """
        truth = checked(targets, self.head.num_classes, type(self).__name__)
        boxes = tf.concat([proposals, truth["boxes"]], 1)
        valid = tf.concat([valid, truth["classes"] > 0], 1)
        boxes, valid = self._sample(boxes, valid, truth, seed)
        class_losses, box_losses = [], []
        for stage in range(len(self.heads)):
            rois = self._assign(stage, boxes, valid, truth)
            logits, deltas = self._run_head(stage, pyramid, boxes, training)
            class_loss, box_loss = self._stage_losses(stage, logits, deltas, rois, truth)
            class_losses.append(class_loss)
            box_losses.append(box_loss)
            refined = self._refine(stage, deltas, boxes, targets["image_size"])
            boxes = tf.stop_gradient(self._one_box_each(refined, logits))
            valid &= box_ops.area(boxes) > 0
        stages = float(len(self.heads)) if self.loss_reduction == "mean" else 1.0
        return {"class_loss": tf.add_n(class_losses) / stages, "box_loss": tf.add_n(box_losses) / stages}, rois

    def _run_head(self, stage: int, pyramid, boxes: tf.Tensor, training) -> tuple[tf.Tensor, tf.Tensor]:
        return self.heads[stage](self.roi_align(pyramid, boxes), training=training)

    def _probabilities(self, stages: list[tf.Tensor]) -> tf.Tensor:
        """Probabilities [batch, n, K] of the classes, without the background's, from the logits of every stage."""
        logits = tf.stack(stages if self.score_ensemble else stages[-1:])
        if self.score_ensemble == "logits":
            logits = tf.reduce_mean(logits, 0, keepdims=True)
        return tf.reduce_mean(self.class_loss.probabilities(logits), 0)[..., 1:]

    def _refine(self, stage: int, deltas: tf.Tensor, boxes: tf.Tensor, image_size: tf.Tensor) -> tf.Tensor:
        refined = box_ops.decode(deltas, boxes[:, :, tf.newaxis], self.coder_weights[stage])
        return box_ops.clip(refined, image_size[:, tf.newaxis, tf.newaxis])

    def _one_box_each(self, refined: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        """The box that goes to the next stage: the only one, or that of the likeliest foreground class."""
        if self.head.class_agnostic:
            return refined[:, :, 0]
        return tf.gather(refined, tf.argmax(logits[..., 1:], -1) + 1, batch_dims=2)

    def _sample(self, boxes, valid, targets, seed) -> tuple[tf.Tensor, tf.Tensor]:
        """Draws as many RoIs of an image as `sampler` has samples; short draws are padded."""
        _, label = self._match(0, boxes, targets)
        positive, negative = self.sampler((label == 1) & valid, (label != 1) & valid, seed)
        chosen, index = first(positive | negative, self.sampler.samples)
        return tf.gather(boxes, index, batch_dims=1), chosen

    def _match(self, stage: int, boxes, targets) -> tuple[tf.Tensor, tf.Tensor]:
        matcher = Matcher(self.ious[stage], self.ious[stage], force_match=False)
        return matcher(boxes, targets["boxes"], targets["classes"] > 0)

    def _assign(self, stage: int, boxes, valid, targets) -> RoIs:
        index, label = self._match(stage, boxes, targets)
        classes = tf.where((label == 1) & valid, tf.gather(targets["classes"], index, batch_dims=1), 0)
        return RoIs(boxes, valid, classes, index)

    def _stage_losses(self, stage: int, logits, deltas, rois: RoIs, targets) -> tuple[tf.Tensor, tf.Tensor]:
        weight, positive = tf.cast(rois.valid, tf.float32), tf.cast(rois.classes > 0, tf.float32)
        class_loss = self.class_loss(logits, tf.one_hot(rois.classes, self.head.num_classes + 1), targets)
        own = deltas[:, :, 0] if self.head.class_agnostic else tf.gather(deltas, rois.classes, batch_dims=2)
        matched = tf.gather(targets["boxes"], rois.index, batch_dims=1)
        true_deltas = box_ops.encode(matched, rois.boxes, self.coder_weights[stage])
        # An empty (padding) RoI has no finite target; it must not reach the sum, not even times zero.
        true_deltas = tf.where(positive[..., tf.newaxis] > 0, true_deltas, tf.stop_gradient(own))
        box_loss = self.box_loss(own, true_deltas)
        return (
            tf.math.divide_no_nan(tf.reduce_sum(class_loss * weight), tf.reduce_sum(weight)),
            tf.math.divide_no_nan(tf.reduce_sum(box_loss * positive), tf.reduce_sum(positive)),
        )


def _check_stages(ious: Sequence[float], coder_weights: Sequence[Sequence[float]]) -> None:
    if not ious or len(ious) != len(coder_weights):
        raise ConfigError(
            f"BoxCascade has {len(ious)} ious {ious!r} and {len(coder_weights)} coder_weights {coder_weights!r}; "
            f"give one of each for every stage."
        )


def _check_choice(name: str, value: object, choices: Sequence[object]) -> None:
    if value not in choices:
        raise ConfigError(f"BoxCascade's {name} is {value!r}; it must be one of {', '.join(map(repr, choices))}.")
