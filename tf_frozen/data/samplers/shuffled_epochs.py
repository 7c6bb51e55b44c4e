"""Shuffled epochs: shows every image once an epoch."""

from __future__ import annotations

from collections.abc import Sequence

import gin
import tensorflow as tf

from tf_frozen.config.checked import Checked
from tf_frozen.config.ranges import Seed
from tf_frozen.data.sampling import Sampler, shuffled


@gin.configurable
class ShuffledEpochs(Checked, Sampler):
    """Shows every image once an epoch, in another random order each epoch."""

    def __init__(self, examples: Sequence, seed: Seed):
        self.count, self.seed = len(examples), seed

    def place(self, position: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the epoch and the index of the example at `position`, int64 scalars."""
        epoch = position // self.count
        return epoch, shuffled(position % self.count, self.count, tf.stack([tf.constant(self.seed, tf.int64), epoch]))
