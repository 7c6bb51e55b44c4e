"""The head of one-stage detectors: classes and boxes at every anchor (Lin et al. 2017, arXiv 1708.02002, section 4)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import gin
import tensorflow as tf

from tf_frozen.config.ranges import (
    Fraction,
    LayerCount,
    NonNegativeFloat,
    OpenFraction,
    PositiveFloat,
    PositiveInt,
    PositiveLayerCount,
    Width,
)
from tf_frozen.errors import ConfigError
from tf_frozen.geometry import boxes as box_ops
from tf_frozen.geometry.anchors import pyramid_anchors
from tf_frozen.geometry.matching import match_boxes
from tf_frozen.geometry.nms import best_candidates, suppress
from tf_frozen.heads.targets import checked
from tf_frozen.keras_flavor import keras
from tf_frozen.layers.configured import ConfiguredLayer
from tf_frozen.layers.conv_tower import ConvTower
from tf_frozen.losses.focal import sigmoid_focal
from tf_frozen.losses.huber import huber

Outputs = Mapping[int, tuple[tf.Tensor, tf.Tensor]]


@gin.configurable
@keras.utils.register_keras_serializable("tf_frozen")
class DenseHead(ConfiguredLayer):
    """Two towers of convolutions, one for classes and one for boxes, shared by all levels; RetinaNet's by default.

    With `separable` convolutions, the outputs among them, it is EfficientDet's (Tan et al. 2020, arXiv 1911.09070,
    section 4). `num_classes` foreground classes give as many logits, class k the logit k − 1. An anchor's side is
    `anchor_scale`·2^level·2^(octave/octaves) pixels. Anchors that overlap a box by `positive_iou` and the best of each
    box learn it, those below `negative_iou` learn background. `candidates` a level go into NMS, of which `soft_sigma`
    and `class_agnostic` are options (see `suppress`). Defaults: the official YAMLs.
    Raises ConfigError when the IoUs make no sense.
    """

    def __init__(
        self,
        num_classes: PositiveInt,
        filters: Width = 256,
        convs: LayerCount = 4,
        anchor_scale: PositiveFloat = 4.0,
        anchor_octaves: PositiveLayerCount = 3,
        anchor_ratios: Sequence[PositiveFloat] = (0.5, 1.0, 2.0),
        positive_iou: Fraction = 0.5,
        negative_iou: Fraction = 0.5,
        focal_alpha: Fraction = 0.25,
        focal_gamma: NonNegativeFloat = 1.5,
        box_loss_delta: PositiveFloat = 0.1,
        box_loss_weight: NonNegativeFloat = 50.0,
        prior: OpenFraction = 0.01,
        score_threshold: Fraction = 0.05,
        nms_iou: Fraction = 0.5,
        candidates: PositiveInt = 1000,
        detections: PositiveInt = 100,
        soft_sigma: NonNegativeFloat = 0.0,
        class_agnostic: bool = False,
        activation: str = "swish",
        norm: keras.layers.Layer | None = None,
        separable: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if negative_iou > positive_iou:
            raise ConfigError(
                f"DenseHead's negative_iou is {negative_iou!r} and its positive_iou {positive_iou!r}; the first must "
                f"not be above the second."
            )
        self.num_classes, self.filters, self.convs, self.prior = num_classes, filters, convs, prior
        self.anchor_scale, self.anchor_octaves = anchor_scale, anchor_octaves
        self.anchor_ratios = tuple(anchor_ratios)
        self.positive_iou, self.negative_iou = positive_iou, negative_iou
        self.focal_alpha, self.focal_gamma = focal_alpha, focal_gamma
        self.box_loss_delta, self.box_loss_weight = box_loss_delta, box_loss_weight
        self.score_threshold, self.nms_iou = score_threshold, nms_iou
        self.candidates, self.detections = candidates, detections
        self.soft_sigma, self.class_agnostic = soft_sigma, class_agnostic
        self.activation, self.norm, self.separable = activation, norm, separable
        self.class_tower, self.box_tower = (
            ConvTower(filters, convs, norm, activation, separable, name=name) for name in ("class_tower", "box_tower")
        )
        anchors = anchor_octaves * len(self.anchor_ratios)
        # The prior keeps the many background anchors from drowning the loss of the first steps (section 3.3).
        self.classes = _output_conv(anchors * num_classes, separable, -math.log((1 - prior) / prior), "classes")
        self.deltas = _output_conv(anchors * 4, separable, 0.0, "deltas")

    def call(self, pyramid: Mapping[int, tf.Tensor], training: bool | None = None) -> dict[int, tuple]:
        """Maps each level [batch, h, w, c] to logits [batch, h·w·A, K] and deltas [batch, h·w·A, 4], float32."""
        class_maps, box_maps = (tower(pyramid, training=training) for tower in (self.class_tower, self.box_tower))
        return {
            level: (
                _rows(self.classes(class_maps[level]), self.num_classes),
                _rows(self.deltas(box_maps[level]), 4),
            )
            for level in pyramid
        }

    def anchors(self, frame: tuple[int, int], levels: Sequence[int]) -> dict[int, tf.Tensor]:
        """The anchors [h·w·A, 4] of each level for frames of (height, width) pixels."""
        return pyramid_anchors(frame, levels, self.anchor_scale, self.anchor_octaves, self.anchor_ratios)

    def loss_parts(
        self, outputs: Outputs, frame: tuple[int, int], targets: Mapping[str, tf.Tensor]
    ) -> dict[str, tf.Tensor]:
        """Focal loss of all anchors but the ignored and Huber loss of the positive: two scalars.

        Both are sums over the batch divided by its number of positive anchors plus one, as in Model Garden and
        google/automl; section 4.1 has each image divided by its own. Raises DataError for targets that are not as
        `checked` wants them.
        """
        targets = checked(targets, self.num_classes, type(self).__name__)
        levels = sorted(outputs)
        anchors = tf.concat([anchors for _, anchors in sorted(self.anchors(frame, levels).items())], 0)
        logits, deltas = (tf.concat([outputs[level][part] for level in levels], 1) for part in (0, 1))
        truth, real = targets["boxes"], targets["classes"] > 0
        index, label = match_boxes(anchors[tf.newaxis], truth, real, self.positive_iou, self.negative_iou, True)
        positive, counts = tf.cast(label == 1, tf.float32), tf.cast(label >= 0, tf.float32)
        classes = tf.where(label == 1, tf.gather(targets["classes"], index, batch_dims=1), 0)
        wanted = tf.one_hot(classes - 1, self.num_classes)
        focal = tf.reduce_sum(sigmoid_focal(logits, wanted, self.focal_alpha, self.focal_gamma), -1)
        true_deltas = box_ops.encode(tf.gather(targets["boxes"], index, batch_dims=1), anchors[tf.newaxis])
        box_loss = tf.reduce_mean(huber(deltas - true_deltas, self.box_loss_delta), -1)
        share = 1.0 / (tf.reduce_sum(positive) + 1.0)
        return {
            "class_loss": share * tf.reduce_sum(focal * counts),
            "box_loss": self.box_loss_weight * share * tf.reduce_sum(box_loss * positive),
        }

    def detect(self, outputs: Outputs, frame: tuple[int, int], image_size: tf.Tensor) -> dict[str, tf.Tensor]:
        """The detections of each image: boxes [batch, D, 4], scores, classes 1…K (0 is padding) and count [batch]."""
        anchors = self.anchors(frame, sorted(outputs))
        found = []
        for level, (logits, deltas) in outputs.items():
            boxes = box_ops.clip(box_ops.decode(deltas, anchors[level]), image_size[:, tf.newaxis])
            # Logits, as the largest sigmoids all round to 1.
            found.append(best_candidates(boxes, logits, self.candidates))
        boxes, logits, classes = (tf.concat(parts, 1) for parts in zip(*found, strict=True))
        return suppress(
            boxes,
            tf.sigmoid(logits),
            classes,
            self.score_threshold,
            self.nms_iou,
            self.detections,
            self.soft_sigma,
            self.class_agnostic,
        )


def _rows(x: tf.Tensor, width: int) -> tf.Tensor:
    """The values of each anchor [batch, h·w·A, width] in float32 of a map [batch, h, w, A·width]."""
    return tf.cast(tf.reshape(x, [tf.shape(x)[0], -1, width]), tf.float32)


def _output_conv(filters: int, separable: bool, bias: float, name: str) -> keras.layers.Layer:
    options = {"padding": "same", "bias_initializer": keras.initializers.Constant(bias), "name": name}
    normal = keras.initializers.RandomNormal
    if separable:
        return keras.layers.SeparableConv2D(
            filters, 3, depthwise_initializer=normal(stddev=0.03), pointwise_initializer=normal(stddev=0.03), **options
        )
    return keras.layers.Conv2D(filters, 3, kernel_initializer=normal(stddev=0.01), **options)
