"""Test-time augmentation: detects on an image flipped and turned, and merges what was found."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import gin
import tensorflow as tf

from tf_frozen.config.ranges import Fraction
from tf_frozen.geometry import boxes as box_ops
from tf_frozen.geometry.nms import batched_nms, gather_detections
from tf_frozen.geometry.voting import vote
from tf_frozen.keras_flavor import keras
from tf_frozen.layers.configured import ConfiguredLayer

Detections = dict[str, tf.Tensor]
Flips = tuple[bool, bool, bool]  # swap of the axes, which comes after flip_y and flip_x
Detect = Callable[[tf.Tensor, tf.Tensor], Detections]
_SIGNATURE = (
    tf.TensorSpec((None, None, 4), tf.float32),
    tf.TensorSpec((None, None), tf.float32),
    tf.TensorSpec((None, None), tf.int32),
)


@gin.configurable
@keras.utils.register_keras_serializable("tf_frozen")
class TestTimeAugmentation(ConfiguredLayer):
    """Detects on an image and its mirror image, or with `turns` on all eight flips and quarter turns of it.

    `turns` is for images that have no side up, as aerial ones. Boxes of a class that overlap by at least `vote_iou`
    are replaced by their mean, with the mean score over all variants (box voting). NMS by class then keeps the best, at
    most as many as the detector gives for one image. Detection takes 2 or 8 times as long; training takes no longer.
    """

    def __init__(self, turns: bool = False, vote_iou: Fraction = 0.7, nms_iou: Fraction = 0.5, **kwargs):
        super().__init__(**kwargs)
        self.turns, self.vote_iou, self.nms_iou = turns, vote_iou, nms_iou

    def detect(self, detect: Detect, images: tf.Tensor, image_size: tf.Tensor) -> Detections:
        """Returns what `detect(images, image_size)` finds on all variants of frames [batch, H, W, 3], merged.

        The part that is not padding, `image_size` [batch, 2], is flipped in place. Like `detect`, returns boxes
        [batch, D, 4] within that part, scores and classes [batch, D], and count [batch].
        """
        size = tf.math.ceil(image_size)  # flips move whole pixels
        choices = (False, True) if self.turns else (False,)
        flips = list(itertools.product(choices, choices, (False, True)))
        found: list[list[tf.Tensor]] = []
        for same_shape in _by_shape(flips, images.shape[1] == images.shape[2]):
            # One variant after another: all at once would take the memory of as many batches.
            with tf.control_dependencies([tensor for tensors in found for tensor in tensors]):
                found.append(_detect_flipped(detect, images, size, same_shape))
        boxes, scores, classes = (tf.concat(parts, 1) for parts in zip(*found, strict=True))
        boxes, votes = vote(boxes, scores, classes, self.vote_iou)
        # A variant rarely has two boxes this close; where it has, the score stays at most 1.
        scores = tf.minimum(votes / len(flips), 1.0)
        most = tf.shape(scores)[1] // len(flips)
        boxes = box_ops.clip(boxes, image_size)
        kept, valid = batched_nms(boxes, scores, classes, self.nms_iou, most, score_threshold=0.0)
        return gather_detections(boxes, scores, classes, kept, valid)


def _by_shape(flips: list[Flips], square: bool) -> list[list[Flips]]:
    """The flips in groups whose frames have one shape, and so can go through one loop."""
    if square:
        return [flips]
    return [list(group) for _, group in itertools.groupby(flips, lambda flip: flip[0])]


def _detect_flipped(detect: Detect, images: tf.Tensor, size: tf.Tensor, flips: list[Flips]) -> list[tf.Tensor]:
    """Boxes [batch, V·D, 4], scores and classes of V variants of one shape, in pixels of the images."""

    def detect_one(variant: tuple[tf.Tensor, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        found = detect(*variant)
        return found["boxes"], found["scores"], found["classes"]

    variants = [_flip(images, size, *flip) for flip in flips]
    variants = tuple(map(tf.stack, zip(*variants, strict=True)))
    found = tf.map_fn(detect_one, variants, fn_output_signature=_SIGNATURE, parallel_iterations=1)
    boxes, scores, classes = (tf.unstack(tensor, len(flips)) for tensor in found)
    boxes = [_flip_back(each, size, *flip) for each, flip in zip(boxes, flips, strict=True)]
    return [tf.concat(parts, 1) for parts in (boxes, scores, classes)]


def _flip(images: tf.Tensor, size: tf.Tensor, swap: bool, flip_y: bool, flip_x: bool) -> tuple[tf.Tensor, tf.Tensor]:
    """Images [batch, H, W, 3] whose part of height and width `size` [batch, 2] is flipped in place, and its size."""
    for axis, flipped in enumerate((flip_y, flip_x)):
        if flipped:
            images = tf.reverse_sequence(images, tf.cast(size[:, axis], tf.int32), seq_axis=axis + 1)
    return (tf.transpose(images, [0, 2, 1, 3]), tf.reverse(size, [1])) if swap else (images, size)


def _flip_back(boxes: tf.Tensor, size: tf.Tensor, swap: bool, flip_y: bool, flip_x: bool) -> tf.Tensor:
    """Boxes [batch, n, 4] of a variant, in pixels of the images of this `size` [batch, 2]."""
    return box_ops.flip(box_ops.swap_axes(boxes) if swap else boxes, size, flip_y, flip_x)
