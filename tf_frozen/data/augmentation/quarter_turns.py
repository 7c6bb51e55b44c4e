"""Random flips and quarter turns, for pictures from above, where no side is up."""

from __future__ import annotations

import gin
import tensorflow as tf

from tf_frozen.config.checked import Checked
from tf_frozen.data.augmentation.objects import Objects
from tf_frozen.geometry import boxes as box_ops
from tf_frozen.geometry import masks as mask_ops


@gin.configurable
class QuarterTurns(Checked):
    """Flips and quarter turns, each of the eight equally likely; no pixel is resampled.

    `turns` False leaves the two horizontal flips of a picture that has an up side.
    """

    def __init__(self, turns: bool = True):
        self.turns = turns

    def __call__(self, image: tf.Tensor, objects: Objects, seed: tf.Tensor) -> tuple[tf.Tensor, Objects]:
        """Turns image [h, w, 3] and objects alike; `seed` int32 [2] decides how."""
        draw = tf.random.stateless_uniform([3], seed, 0, 2, tf.int32)
        flip_x, flip_y, swap = draw[0] > 0, (draw[1] > 0) & self.turns, (draw[2] > 0) & self.turns
        image = tf.cond(flip_x, lambda: tf.reverse(image, [1]), lambda: image)
        image = tf.cond(flip_y, lambda: tf.reverse(image, [0]), lambda: image)
        size = tf.cast(tf.shape(image)[:2], tf.float32)
        image = tf.cond(swap, lambda: tf.transpose(image, [1, 0, 2]), lambda: image)
        boxes = box_ops.flip(objects["boxes"], size, flip_y, flip_x)
        turned = {**objects, "boxes": tf.where(swap, box_ops.swap_axes(boxes), boxes)}
        if "masks" in objects:
            masks = mask_ops.flip(objects["masks"], flip_y, flip_x)
            turned["masks"] = tf.where(swap, tf.transpose(masks, [0, 2, 1]), masks)
        return image, turned
