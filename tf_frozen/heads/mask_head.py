"""The mask branch of Mask R-CNN (He et al. 2017, arXiv 1703.06870): a small mask of the object in each box."""

from __future__ import annotations

from collections.abc import Mapping

import gin
import tensorflow as tf

from tf_frozen.config.ranges import LayerCount, NonNegativeFloat, PositiveInt, Width
from tf_frozen.errors import ConfigError
from tf_frozen.geometry import boxes as box_ops
from tf_frozen.geometry import masks as mask_ops
from tf_frozen.geometry.sampling import first
from tf_frozen.heads.box_cascade import RoIs
from tf_frozen.heads.roi_align import RoIAlign
from tf_frozen.heads.targets import in_range
from tf_frozen.keras_flavor import keras
from tf_frozen.layers.configured import ConfiguredLayer
from tf_frozen.layers.conv_block import ConvBlock, he_fan_out
from tf_frozen.layers.norm import copy_of


@gin.configurable
@keras.utils.register_keras_serializable("tf_frozen")
class MaskHead(ConfiguredLayer):
    """Convolutions and one 2× upsampling on features of RoIs; one mask for each class, or one for all of them.

    Class 0 is background, so `num_classes` foreground classes make num_classes + 1 masks, as in Model Garden. RoIs are
    read by `roi_align`, and masks are twice as fine as its bins. An image's first `samples` positive RoIs train it.
    `output_stddev` is the standard deviation of the last kernel's initial values. Defaults: the official YAMLs (4
    convolutions of 256 filters, `RoIAlign(14)`, 128 samples).
    """

    def __init__(
        self,
        num_classes: PositiveInt,
        convs: LayerCount = 4,
        filters: Width = 256,
        class_agnostic: bool = False,
        activation: str = "swish",
        norm: keras.layers.Layer | None = None,
        separable: bool = False,
        roi_align: RoIAlign | None = None,
        samples: PositiveInt = 128,
        output_stddev: NonNegativeFloat = 0.001,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.num_classes, self.convs, self.filters = num_classes, convs, filters
        self.class_agnostic, self.separable = class_agnostic, separable
        self.activation, self.norm = activation, norm
        self.roi_align = roi_align or RoIAlign(size=14)
        self.samples, self.output_stddev = samples, output_stddev
        self.conv_blocks = [
            ConvBlock(filters, 3, norm, activation, separable, name=f"conv_{index}") for index in range(convs)
        ]
        self.upsample = keras.layers.Conv2DTranspose(
            filters, 2, 2, use_bias=norm is None, kernel_initializer=he_fan_out(), name="upsample"
        )
        self.upsample_norm = copy_of(norm, "upsample_norm") if norm is not None else None
        self.activate = keras.activations.get(activation)

    def build(self, input_shape: tuple) -> None:
        """Makes the last 1×1 convolution, [filters, masks], of which each RoI uses one column."""
        masks = 1 if self.class_agnostic else self.num_classes + 1
        initializer = keras.initializers.RandomNormal(stddev=self.output_stddev)
        self.kernel = self.add_weight("kernel", [self.filters, masks], initializer=initializer)
        self.bias = self.add_weight("bias", [masks], initializer="zeros")
        super().build(input_shape)

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor], training: bool | None = None) -> tf.Tensor:
        """Logits [batch, n, 2s, 2s] float32 of the classes [batch, n], from features [batch, n, s, s, channels]."""
        features, classes = inputs
        count, (size, _, channels) = tf.shape(features)[:2], features.shape[2:]
        x = tf.reshape(features, [-1, size, size, channels])
        for block in self.conv_blocks:
            x = block(x, training=training)
        x = self.upsample(x)
        if self.upsample_norm is not None:
            x = self.upsample_norm(x, training=training)
        x = tf.reshape(self.activate(x), [count[0], count[1], (2 * size) ** 2, self.filters])
        # Only the masks that are asked for: those of all 1203 LVIS classes would fill a gigabyte an image.
        column = tf.zeros_like(classes, tf.int32) if self.class_agnostic else tf.cast(classes, tf.int32)
        chosen = tf.one_hot(column, self.kernel.shape[1], dtype=x.dtype)
        kernel = tf.matmul(chosen, tf.cast(self.kernel, x.dtype), transpose_b=True)
        logits = tf.matmul(x, kernel[..., tf.newaxis])[..., 0] + tf.linalg.matvec(chosen, self.bias)[..., tf.newaxis]
        logits = tf.cast(logits, tf.float32)
        return tf.reshape(logits, [count[0], count[1], 2 * size, 2 * size])

    def detect(self, pyramid: Mapping[int, tf.Tensor], boxes: tf.Tensor, classes: tf.Tensor) -> tf.Tensor:
        """Probabilities [batch, D, 2s, 2s] float32 of the classes [batch, D], on a grid over their boxes [batch, D, 4].

        Boxes are in pixels of the frame; masks of class 0, which is padding, are zeros.
        """
        probabilities = tf.sigmoid(self._logits(pyramid, boxes, classes, training=False))
        return tf.where((classes > 0)[..., tf.newaxis, tf.newaxis], probabilities, 0.0)

    def loss_parts(
        self, pyramid: Mapping[int, tf.Tensor], rois: RoIs, targets: Mapping[str, tf.Tensor], training: bool = True
    ) -> dict[str, tf.Tensor]:
        """Sigmoid cross entropy, the mean over all pixels of the positive RoIs: one scalar.

        `targets` hold boxes [batch, N, 4] and masks [batch, N, S, S], 1 inside the object, that fill them; raises
        ConfigError without masks, DataError for classes above `num_classes` (see `in_range`).
        """
        if "masks" not in targets:
            raise ConfigError(
                "The training data has no masks for the mask head. Let the data set read them: CocoJson.masks = True."
            )
        positive, place = first(rois.classes > 0, self.samples)
        boxes, classes, index = (
            tf.gather(part, place, batch_dims=1) for part in (rois.boxes, rois.classes, rois.index)
        )
        classes = in_range(classes, self.num_classes, type(self).__name__)
        logits = self._logits(pyramid, boxes, classes, training)
        truth = tf.cast(targets["boxes"], tf.float32), tf.cast(targets["masks"], tf.float32)
        filled, masks = (tf.gather(part, index, batch_dims=1) for part in box_ops.at_least_one(*truth))
        true_masks = tf.stop_gradient(mask_ops.crop(masks, filled, boxes, logits.shape[-1]))
        return {"mask_loss": mask_loss(logits, true_masks, positive)}

    def _logits(self, pyramid, boxes: tf.Tensor, classes: tf.Tensor, training: bool) -> tf.Tensor:
        return self((self.roi_align(pyramid, boxes), classes), training=training)


def mask_loss(logits: tf.Tensor, true_masks: tf.Tensor, positive: tf.Tensor) -> tf.Tensor:
    """Mean sigmoid cross entropy of logits and true masks [..., n, h, w], 0…1, over the positive RoIs [..., n]."""
    cross_entropy = tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(true_masks, logits), [-2, -1])
    weight = tf.cast(positive, tf.float32)
    return tf.math.divide_no_nan(tf.reduce_sum(cross_entropy * weight), tf.reduce_sum(weight))
