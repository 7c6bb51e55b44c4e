"""Test-time augmentation: detects on an image flipped and turned, and merges what was found."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import gin
import tensorflow as tf

from tf_frozen.geometry.nms import batched_nms, gather_detections
from tf_frozen.geometry.voting import vote
from tf_frozen.keras_flavor import keras
from tf_frozen.layers.configured import ConfiguredLayer

Detections = dict[str, tf.Tensor]
Detect = Callable[[tf.Tensor, tf.Tensor], Detections]
_SIGNATURE = (
    tf.TensorSpec((None, None, 4), tf.float32),
    tf.TensorSpec((None, None), tf.float32),
    tf.TensorSpec((None, None), tf.int32),
)


@gin.configurable
@keras.utils.register_keras_serializable("tf_frozen")
class Views(ConfiguredLayer):
    """An image and its mirror image, or with `turns`, where no side is up, all eight flips and quarter turns.

    Boxes of a class that overlap by `vote_iou` take their mean place and the mean score of the views (box voting);
    then NMS by class leaves the best `detections` of an image. Detection takes as many times longer as there are
    views; training takes no longer.
    """

    def __init__(
        self, turns: bool = False, vote_iou: float = 0.7, nms_iou: float = 0.5, detections: int = 100, **kwargs
    ):
        super().__init__(**kwargs)
        self.turns, self.vote_iou, self.nms_iou, self.detections = turns, vote_iou, nms_iou, detections

    def detect(self, detect: Detect, images: tf.Tensor, image_size: tf.Tensor) -> Detections:
        """What `detect(images, image_size)` finds on the views of frames [batch, H, W, 3], merged.

        The part that is no padding, `image_size` [batch, 2], is flipped in its place. Like `detect` it gives boxes
        [batch, D, 4], scores and classes [batch, D], and count [batch].
        """
        size = tf.math.ceil(image_size)  # flips move whole pixels
        boxes, scores, classes = self._detect_flipped(detect, images, size)
        if self.turns:
            turned = self._detect_flipped(detect, tf.transpose(images, [0, 2, 1, 3]), tf.reverse(size, [1]))
            turned[0] = tf.gather(turned[0], [1, 0, 3, 2], axis=-1)
            boxes, scores, classes = (tf.concat(pair, 1) for pair in zip((boxes, scores, classes), turned, strict=True))
        boxes, votes = vote(boxes, scores, classes, self.vote_iou)
        # A view rarely has two boxes this close; where it has, no score is to pass 1.
        scores = tf.minimum(votes / (8.0 if self.turns else 2.0), 1.0)
        kept, valid = batched_nms(boxes, scores, classes, self.nms_iou, self.detections, score_threshold=0.0)
        return gather_detections(boxes, scores, classes, kept, valid)

    def _detect_flipped(self, detect: Detect, images: tf.Tensor, size: tf.Tensor) -> list[tf.Tensor]:
        """Boxes [batch, V·D, 4], scores and classes of the V flips of images, in pixels of the images."""
        flips = list(itertools.product((False, True) if self.turns else (False,), (False, True)))

        def detect_one(view: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            found = detect(view, size)
            return found["boxes"], found["scores"], found["classes"]

        # One view after another: together they would take the memory of so many batches.
        found = tf.map_fn(
            detect_one,
            tf.stack([_flip(images, size, *ways) for ways in flips]),
            fn_output_signature=_SIGNATURE,
            parallel_iterations=1,
        )
        boxes, scores, classes = (tf.unstack(tensor, len(flips)) for tensor in found)
        boxes = [_flip_boxes(each, size, *ways) for each, ways in zip(boxes, flips, strict=True)]
        return [tf.concat(views, 1) for views in (boxes, scores, classes)]


def _flip(images: tf.Tensor, size: tf.Tensor, down: bool, across: bool) -> tf.Tensor:
    """Images [batch, H, W, 3] whose part of height and width `size` [batch, 2] is flipped, at the top left."""
    for axis, flipped in enumerate((down, across)):
        if flipped:
            images = tf.reverse_sequence(images, tf.cast(size[:, axis], tf.int32), seq_axis=axis + 1)
    return images


def _flip_boxes(boxes: tf.Tensor, size: tf.Tensor, down: bool, across: bool) -> tf.Tensor:
    y1, x1, y2, x2 = tf.unstack(boxes, axis=-1)
    height, width = size[:, :1], size[:, 1:]
    if down:
        y1, y2 = height - y2, height - y1
    if across:
        x1, x2 = width - x2, width - x1
    return tf.stack([y1, x1, y2, x2], -1)
