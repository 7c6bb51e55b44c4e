"""The region proposal network (Ren et al. 2015, section 3), on every level of a pyramid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import gin
import tensorflow as tf

from tf_frozen.config.ranges import LayerCount, NonNegativeFloat, PositiveFloat, Width
from tf_frozen.geometry import boxes as box_ops
from tf_frozen.heads.anchors import Anchors
from tf_frozen.heads.balanced_sampler import BalancedSampler
from tf_frozen.heads.matcher import Matcher
from tf_frozen.heads.proposal_nms import ProposalNMS
from tf_frozen.heads.targets import checked
from tf_frozen.keras_flavor import keras
from tf_frozen.layers.configured import ConfiguredLayer
from tf_frozen.layers.conv_tower import ConvTower
from tf_frozen.losses.box_loss import BoxLoss
from tf_frozen.losses.class_loss import ClassLoss
from tf_frozen.losses.huber import Huber
from tf_frozen.losses.sigmoid_cross_entropy import SigmoidCrossEntropy


@gin.configurable
@keras.utils.register_keras_serializable("tf_frozen")
class RegionProposal(ConfiguredLayer):
    """Scores anchors and refines them to proposals, with the same convolutions on every level.

    With `box_loss_per_level` the box loss is Model Garden's: the mean over every positive anchor of a level, sampled or
    not, summed over the levels; without it the mean over all sampled positives. Kernels are initialized with the
    variance `conv_scale` / fan out, those of the outputs with the standard deviation `output_stddev`. Defaults, where
    None is given: `Anchors(8, 1)`, `Matcher(0.7, 0.3)`, `BalancedSampler(256, 0.5)`, `SigmoidCrossEntropy()`,
    `Huber(1/9)` and `ProposalNMS()`, as the official YAMLs have them.
    """

    def __init__(
        self,
        filters: Width = 256,
        convs: LayerCount = 1,
        anchors: Anchors | None = None,
        matcher: Matcher | None = None,
        sampler: BalancedSampler | None = None,
        class_loss: ClassLoss | None = None,
        box_loss: BoxLoss | None = None,
        nms: ProposalNMS | None = None,
        activation: str = "swish",
        norm: keras.layers.Layer | None = None,
        separable: bool = False,
        box_loss_per_level: bool = False,
        conv_scale: PositiveFloat = 2.0,
        output_stddev: NonNegativeFloat = 0.01,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.filters, self.convs, self.separable = filters, convs, separable
        self.anchors = anchors or Anchors(scale=8.0, octaves=1)
        self.matcher = matcher or Matcher(positive_iou=0.7, negative_iou=0.3)
        self.sampler = sampler or BalancedSampler(samples=256, positive_fraction=0.5)
        self.class_loss, self.box_loss = class_loss or SigmoidCrossEntropy(), box_loss or Huber(delta=1 / 9)
        self.box_loss_per_level, self.nms = box_loss_per_level, nms or ProposalNMS()
        self.activation, self.norm = activation, norm
        self.conv_scale, self.output_stddev = conv_scale, output_stddev
        self.tower = ConvTower(
            filters, convs, norm, activation, separable, bias=norm is None, scale=conv_scale, name="tower"
        )
        self.score = _output_conv(self.anchors.per_place, output_stddev, "score")
        self.delta = _output_conv(self.anchors.per_place * 4, output_stddev, "delta")

    def call(self, pyramid: Mapping[int, tf.Tensor], training: bool | None = None) -> dict[int, tuple]:
        """Maps each level [batch, h, w, c] to logits [batch, h·w·A] and box deltas [batch, h·w·A, 4], float32."""
        outputs = {}
        for level, x in self.tower(pyramid, training=training).items():
            batch = tf.shape(x)[0]
            scores = tf.cast(tf.reshape(self.score(x), [batch, -1]), tf.float32)
            outputs[level] = scores, tf.cast(tf.reshape(self.delta(x), [batch, -1, 4]), tf.float32)
        return outputs

    def propose(
        self, outputs: Mapping[int, tuple], frame: tuple[int, int], image_size: tf.Tensor, training: bool
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The best boxes after NMS within each level: boxes [batch, P, 4] in pixels, and which are real [batch, P]."""
        anchors = self.anchors(frame, sorted(outputs))
        candidates = self.nms.candidates[0 if training else 1]
        boxes, scores, levels = [], [], []
        for level, (logits, deltas) in outputs.items():
            best, index = tf.math.top_k(logits, min(candidates, anchors[level].shape[0]))
            decoded = box_ops.decode(tf.gather(deltas, index, batch_dims=1), tf.gather(anchors[level], index))
            decoded = box_ops.clip(decoded, image_size[:, tf.newaxis])
            boxes.append(decoded)
            scores.append(tf.where(box_ops.area(decoded) > 0, tf.sigmoid(best), -1.0))
            levels.append(tf.fill(tf.shape(best), level))
        boxes, scores, levels = (tf.concat(parts, 1) for parts in (boxes, scores, levels))
        boxes, valid = self.nms(boxes, scores, levels, training)
        return tf.stop_gradient(boxes), valid

    def loss_parts(
        self,
        outputs: Mapping[int, tuple],
        frame: tuple[int, int],
        targets: Mapping[str, tf.Tensor],
        seed: tf.Tensor,
    ) -> dict[str, tf.Tensor]:
        """`class_loss` of sampled anchors and `box_loss` of positive ones: two scalars.

        Anchors that cross the border take part, as in Model Garden. `seed` is int32 [2]: the draw of the sample.
        """
        by_level = self.anchors(frame, sorted(outputs))
        anchors = tf.concat(list(by_level.values()), 0)
        logits, deltas = (tf.concat(parts, 1) for parts in zip(*(outputs[level] for level in by_level), strict=True))
        targets = checked(targets, where=type(self).__name__)
        truth, classes = targets["boxes"], targets["classes"]
        index, label = self.matcher(anchors[tf.newaxis], truth, classes > 0)
        positive, negative = self.sampler(label == 1, label == 0, seed)
        labels = tf.cast(positive, tf.float32)
        score_loss = self.class_loss(logits[..., tf.newaxis], labels[..., tf.newaxis], targets)
        true_deltas = box_ops.encode(tf.gather(truth, index, batch_dims=1), anchors[tf.newaxis])
        error = self.box_loss(deltas, true_deltas)
        if self.box_loss_per_level:
            box_loss = _sum_of_level_means(error, label == 1, [level.shape[0] for level in by_level.values()])
        else:
            box_loss = _mean(error, positive)
        return {
            "rpn_score_loss": _mean(score_loss, positive | negative),
            "rpn_box_loss": box_loss,
        }


def _mean(values: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """The mean of the values where the mask holds, 0 where it holds nowhere."""
    weights = tf.cast(mask, values.dtype)
    return tf.math.divide_no_nan(tf.reduce_sum(values * weights), tf.reduce_sum(weights))


def _sum_of_level_means(values: tf.Tensor, mask: tf.Tensor, counts: Sequence[int]) -> tf.Tensor:
    """The means of `counts` consecutive columns of values [batch, n] where the mask holds, added up."""
    weights = tf.cast(mask, values.dtype)
    levels = zip(tf.split(values * weights, counts, 1), tf.split(weights, counts, 1), strict=True)
    # Model Garden keeps from dividing by zero with 0.01, where it counts each anchor's four coordinates.
    return tf.add_n([tf.reduce_sum(level) / (tf.reduce_sum(weight) + 0.01 / 4) for level, weight in levels])


def _output_conv(filters: int, stddev: float, name: str) -> keras.layers.Layer:
    return keras.layers.Conv2D(filters, 1, kernel_initializer=keras.initializers.RandomNormal(stddev=stddev), name=name)
