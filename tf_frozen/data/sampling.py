"""Base class of samplers, which decide the order of the training images."""

from __future__ import annotations

import abc

import tensorflow as tf


class Sampler(abc.ABC):
    """Maps positions in the endless stream of training images to examples.

    It is constructed with a data set's examples and a seed, on which alone the order depends. It has no state, so that
    a run can resume at any step, and any process can tell what a step holds.
    """

    @abc.abstractmethod
    def place(self, position: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the epoch and the index of the example at `position`, int64 scalars, in a graph.

        The epoch decides how the image is augmented: an image never has the same epoch at two positions.
        """

    def copy(self, epoch: tf.Tensor, copies: int) -> tf.Tensor:
        """Returns which of the `copies` fixed copies of its images an epoch shows; each has its turn."""
        return epoch % copies


def shuffled(index: tf.Tensor, count: int | tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Returns where a permutation of `count` that is drawn by `seed`, int64 [2], has `index`, an int64 scalar."""
    # The op takes few of the low bits of its seed: random bits make all of the seed and the epoch count. By the 4
    # rounds of tf.random.experimental.index_shuffle neighbours of one epoch stay neighbours too often in others.
    bits = tf.random.stateless_uniform([3], seed, None, None, tf.int32)
    last = tf.cast(count, tf.int64) - 1
    return tf.raw_ops.RandomIndexShuffle(index=index, seed=bits, max_index=last, rounds=16)
