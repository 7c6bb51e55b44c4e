"""The head of one-stage detectors: classes and boxes at every anchor (Lin et al. 2017, arXiv 1708.02002, section 4)."""

from __future__ import annotations

import math
from collections.abc import Mapping

import gin
import tensorflow as tf

from tf_frozen.config.ranges import LayerCount, OpenFraction, PositiveInt, Width
from tf_frozen.geometry import boxes as box_ops
from tf_frozen.geometry.nms import best_candidates
from tf_frozen.heads.anchors import Anchors
from tf_frozen.heads.matcher import Matcher
from tf_frozen.heads.nms import NMS
from tf_frozen.heads.targets import checked
from tf_frozen.keras_flavor import keras
from tf_frozen.layers.configured import ConfiguredLayer
from tf_frozen.layers.conv_tower import ConvTower
from tf_frozen.losses.box_loss import BoxLoss
from tf_frozen.losses.class_loss import ClassLoss
from tf_frozen.losses.focal import Focal
from tf_frozen.losses.huber import Huber

Outputs = Mapping[int, tuple[tf.Tensor, tf.Tensor]]


@gin.configurable
@keras.utils.register_keras_serializable("tf_frozen")
class DenseHead(ConfiguredLayer):
    """Two towers of convolutions, one for classes and one for boxes, shared by all levels; RetinaNet's by default.

    With `separable` convolutions, the outputs among them, it is EfficientDet's (Tan et al. 2020, arXiv 1911.09070,
    section 4). `num_classes` foreground classes give as many logits, class k the logit k − 1. `nms.candidates`
    counts the boxes of one level. Defaults, where None is given: `Anchors(4, 3)`, `Matcher(0.5, 0.5)`,
    `Focal(0.25, 1.5)`, `Huber(0.1, weight=50)` and `NMS(candidates=1000)`, as the official YAMLs have them.
    """

    def __init__(
        self,
        num_classes: PositiveInt,
        filters: Width = 256,
        convs: LayerCount = 4,
        anchors: Anchors | None = None,
        matcher: Matcher | None = None,
        class_loss: ClassLoss | None = None,
        box_loss: BoxLoss | None = None,
        nms: NMS | None = None,
        prior: OpenFraction = 0.01,
        activation: str = "swish",
        norm: keras.layers.Layer | None = None,
        separable: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.num_classes, self.filters, self.convs, self.prior = num_classes, filters, convs, prior
        self.anchors = anchors or Anchors(scale=4.0, octaves=3)
        self.matcher = matcher or Matcher(positive_iou=0.5, negative_iou=0.5)
        self.class_loss = class_loss or Focal(alpha=0.25, gamma=1.5)
        self.box_loss = box_loss or Huber(delta=0.1, weight=50.0)
        self.nms = nms or NMS(candidates=1000)
        self.activation, self.norm, self.separable = activation, norm, separable
        self.class_tower, self.box_tower = (
            ConvTower(filters, convs, norm, activation, separable, name=name) for name in ("class_tower", "box_tower")
        )
        per_place = self.anchors.per_place
        # The prior keeps the many background anchors from dominating the loss of the first steps (section 3.3).
        self.classes = _output_conv(per_place * num_classes, separable, -math.log((1 - prior) / prior), "classes")
        self.deltas = _output_conv(per_place * 4, separable, 0.0, "deltas")

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

    @property
    def detections(self) -> int:
        """The most that an image is given."""
        return self.nms.detections

    def loss_parts(
        self, outputs: Outputs, frame: tuple[int, int], targets: Mapping[str, tf.Tensor]
    ) -> dict[str, tf.Tensor]:
        """`class_loss` of all anchors but the ignored and `box_loss` of the positive: two scalars.

        Both are sums over the batch divided by its number of positive anchors plus one, as in Model Garden and
        google/automl; section 4.1 has each image divided by its own. Raises DataError for targets that are not as
        `checked` wants them.
        """
        targets = checked(targets, self.num_classes, type(self).__name__)
        levels = sorted(outputs)
        anchors = tf.concat([anchors for _, anchors in sorted(self.anchors(frame, levels).items())], 0)
        logits, deltas = (tf.concat([outputs[level][part] for level in levels], 1) for part in (0, 1))
        truth, real = targets["boxes"], targets["classes"] > 0
        index, label = self.matcher(anchors[tf.newaxis], truth, real)
        positive, counts = tf.cast(label == 1, tf.float32), tf.cast(label >= 0, tf.float32)
        classes = tf.where(label == 1, tf.gather(targets["classes"], index, batch_dims=1), 0)
        class_loss = self.class_loss(logits, tf.one_hot(classes - 1, self.num_classes), targets)
        true_deltas = box_ops.encode(tf.gather(targets["boxes"], index, batch_dims=1), anchors[tf.newaxis])
        box_loss = self.box_loss(deltas, true_deltas)
        share = 1.0 / (tf.reduce_sum(positive) + 1.0)
        return {
            "class_loss": share * tf.reduce_sum(class_loss * counts),
            "box_loss": share * tf.reduce_sum(box_loss * positive),
        }

    def detect(self, outputs: Outputs, frame: tuple[int, int], image_size: tf.Tensor) -> dict[str, tf.Tensor]:
        """The detections of each image: boxes [batch, D, 4], scores, classes 1…K (0 is padding) and count [batch]."""
        anchors = self.anchors(frame, sorted(outputs))
        found = []
        for level, (logits, deltas) in outputs.items():
            boxes = box_ops.clip(box_ops.decode(deltas, anchors[level]), image_size[:, tf.newaxis])
            # Logits, as the largest sigmoids all round to 1.
            found.append(best_candidates(boxes, logits, self.nms.candidates))
        boxes, logits, classes = (tf.concat(parts, 1) for parts in zip(*found, strict=True))
        return self.nms(boxes, tf.sigmoid(logits), classes)


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
