"""Resamples a feature map to another level of the pyramid."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

Size = Sequence[int | tf.Tensor]


def upsample(x: tf.Tensor, size: Size) -> tf.Tensor:
    """Brings a map [batch, h, w, c] to the (height, width) of a finer level by its nearest neighbours.

    A finer map is not twice as large where its side is odd, so the size is taken from that map. Where all sides are
    known the gradient is made of ops that XLA compiles, too, and equals that of TensorFlow's kernel bit for bit.
    """
    if not all(isinstance(side, int) for side in (*x.shape[1:3], *size)):
        return tf.image.resize(x, size, "nearest")
    runs = [_runs(coarse, fine) for coarse, fine in zip(x.shape[1:3], size, strict=True)]

    @tf.custom_gradient
    def resize(x: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        return tf.image.resize(x, size, "nearest"), lambda upstream: _sums(upstream, *runs)

    return resize(x)


def max_pool(x: tf.Tensor, stride: int = 2, window: int | None = None) -> tf.Tensor:
    """Brings a map to a coarser level, ⌈h/stride⌉ × ⌈w/stride⌉, by the largest of `window`² (or stride²) values."""
    return tf.nn.max_pool2d(x, window or stride, stride, "SAME")


def size_of(x: tf.Tensor) -> Size:
    """(height, width) of a map: integers where they are known."""
    return [tf.shape(x)[axis] if x.shape[axis] is None else x.shape[axis] for axis in (1, 2)]


def _runs(coarse: int, fine: int) -> np.ndarray:
    """For each of the coarse cells those of the `fine` ones that it is repeated to, int32 [coarse, most].

    Short rows are filled up with `fine`, the place of a zero. The source of a cell is TensorFlow's, in float32.
    """
    places = np.arange(fine, dtype=np.float32) + np.float32(0.5)
    sources = np.minimum(np.floor(places * (np.float32(coarse) / np.float32(fine))), coarse - 1).astype(np.int32)
    counts = np.bincount(sources, minlength=coarse)
    starts, offsets = np.cumsum(counts) - counts, np.arange(counts.max())
    return np.where(offsets < counts[:, np.newaxis], starts[:, np.newaxis] + offsets, fine).astype(np.int32)


def _sums(upstream: tf.Tensor, rows: np.ndarray, columns: np.ndarray) -> tf.Tensor:
    """The sum of what each cell was repeated to, added row by row as TensorFlow's kernel does."""
    padded = tf.pad(upstream, [[0, 0], [0, 1], [0, 1], [0, 0]])
    total = tf.zeros([], upstream.dtype)
    for row in rows.T:
        line = tf.gather(padded, row, axis=1)
        for column in columns.T:
            total += tf.gather(line, column, axis=2)
    return total
