"""Class-balanced sampling: shows every class as often as any other."""

from __future__ import annotations

from collections.abc import Sequence

import gin
import numpy as np
import tensorflow as tf

from tf_frozen.config.checked import Checked
from tf_frozen.config.ranges import Seed
from tf_frozen.data.example import Example
from tf_frozen.data.sampling import Sampler, shuffled

_APART = 2**32 + 1  # between the epochs of an image's classes; odd, so that fixed copies differ too


@gin.configurable
class ClassBalanced(Checked, Sampler):
    """Class-aware sampling (Shen et al. 2016, arXiv 1512.05830): a class, then an image that has it.

    Each of K classes comes once in K positions, in a new random order. Each class goes through all its images before
    any repeats, in a new random order. An image with objects of several classes comes for each of them; one without
    objects, or with crowds alone, never comes.
    """

    def __init__(self, examples: Sequence[Example], seed: Seed):
        self.seed = seed
        held = [np.unique(example.classes[~example.crowd]) for example in examples]
        images = np.repeat(np.arange(len(held)), [len(labels) for labels in held])
        labels = np.concatenate([*held, np.zeros(0, np.int32)])
        order = np.argsort(labels, kind="stable")
        self._images = images[order]  # class by class
        self._counts = np.unique(labels, return_counts=True)[1]
        self._starts = np.cumsum(self._counts) - self._counts
        # Which of the classes of its image the class is.
        self._rank = np.concatenate([*(np.arange(len(labels)) for labels in held), np.zeros(0, np.int64)])[order]

    def place(self, position: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the epoch and the index of the example at `position`, int64 scalars."""
        turn, slot = position // len(self._counts), position % len(self._counts)
        seed = tf.constant(self.seed, tf.int64)
        label = shuffled(slot, len(self._counts), tf.stack([seed, turn]))
        count = tf.gather(self._counts, label)
        seed = tf.random.experimental.stateless_fold_in(tf.stack([seed, turn // count]), label)
        row = tf.gather(self._starts, label) + shuffled(turn % count, count, seed)
        return turn // count + _APART * tf.gather(self._rank, row), tf.gather(self._images, row)
