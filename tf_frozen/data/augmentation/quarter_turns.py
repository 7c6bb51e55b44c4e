"""The eight ways to lay a photograph on a table: for pictures from above, where no side is up."""

from __future__ import annotations

import gin
import tensorflow as tf

from tf_frozen.geometry import boxes as box_ops


@gin.configurable
class QuarterTurns:
    """Flips and quarter turns, each of the eight equally likely; no pixel is resampled.

    `turns` False leaves the two horizontal flips of a picture that has an up side.
    """

    def __init__(self, turns: bool = True):
        self.turns = turns

    def __call__(self, image: tf.Tensor, boxes: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Turns image [h, w, 3] and boxes [n, 4] alike; `seed` int32 [2] decides how."""
        draw = tf.random.stateless_uniform([3], seed, 0, 2, tf.int32)
        flip_x, flip_y, swap = draw[0] > 0, (draw[1] > 0) & self.turns, (draw[2] > 0) & self.turns
        image = tf.cond(flip_x, lambda: tf.reverse(image, [1]), lambda: image)
        image = tf.cond(flip_y, lambda: tf.reverse(image, [0]), lambda: image)
        size = tf.cast(tf.shape(image)[:2], tf.float32)
        image = tf.cond(swap, lambda: tf.transpose(image, [1, 0, 2]), lambda: image)
        boxes = box_ops.flip(boxes, size, flip_y, flip_x)
        return image, tf.where(swap, box_ops.swap_axes(boxes), boxes)
