"""How a neck moves a map to another level of the pyramid."""

from __future__ import annotations

import tensorflow as tf


def upsample(x: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """Brings a map [batch, h, w, c] to the (height, width) of a finer level by its nearest neighbours.

    A finer map is not twice as large where its side is odd, so the size is taken from that map.
    """
    return tf.image.resize(x, size, "nearest")


def max_pool(x: tf.Tensor, stride: int = 2, window: int | None = None) -> tf.Tensor:
    """Brings a map to a coarser level, ⌈h/stride⌉ × ⌈w/stride⌉, by the largest of `window`² (or stride²) values."""
    return tf.nn.max_pool2d(x, window or stride, stride, "SAME")


def size_of(x: tf.Tensor) -> tf.Tensor:
    """(height, width) of a map, int32."""
    return tf.shape(x)[1:3]
