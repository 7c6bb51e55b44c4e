"""Repeat factor sampling: shows images of rare classes more often."""

from __future__ import annotations

from collections.abc import Sequence

import gin
import numpy as np
import tensorflow as tf

from tf_frozen.config.checked import Checked
from tf_frozen.config.ranges import Fraction, Seed
from tf_frozen.data.example import Example
from tf_frozen.data.samplers.shuffled_epochs import ShuffledEpochs
from tf_frozen.data.sampling import Sampler


@gin.configurable
class RepeatFactor(Checked, Sampler):
    """Shows images of rare classes more often than others (Gupta et al. 2019, arXiv 1908.03195, section 4.1.3).

    A class in the share f of the images has the factor max(1, √(`threshold`/f)), an image the largest of its classes.
    An epoch has as many images as there are, shared out by the factors: of each the integer part or one more, in turn
    over the epochs. Where every class is in more than `threshold` of the images this is ShuffledEpochs. Repeats of an
    image within an epoch are augmented differently. Raises ConfigError for a threshold outside 0…1.
    """

    def __init__(self, examples: Sequence[Example], seed: Seed, threshold: Fraction = 0.3):
        self._epochs = ShuffledEpochs(examples, seed)
        factors = repeat_factors([example.classes[~example.crowd] for example in examples], threshold)
        # Image i owns the slots of a circle of `count` from ends[i-1] to ends[i].
        slots = factors * len(factors) / max(factors.sum(), 1.0)
        self._ends, self._most = np.cumsum(slots), int(np.ceil(slots.max(initial=0.0))) + 1

    def place(self, position: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the epoch, another for each repeat, and the index of the example at `position`, int64 scalars."""
        epoch, slot = self._epochs.place(position)
        seed = tf.stack([tf.constant(self._epochs.seed, tf.int64), epoch])
        offset = tf.random.stateless_uniform([], seed, dtype=tf.float64)
        ends = tf.constant(self._ends)
        index = tf.searchsorted(ends, [tf.cast(slot, tf.float64) + offset], "right", tf.int64)[0]
        index = tf.minimum(index, self._epochs.count - 1)  # the last end is a sum of floats
        begin = tf.where(index > 0, tf.gather(ends, tf.maximum(index - 1, 0)), 0)
        repeat = slot - tf.cast(tf.math.ceil(begin - offset), tf.int64)
        return epoch * self._most + repeat, index

    def copy(self, epoch: tf.Tensor, copies: int) -> tf.Tensor:
        """Returns which of the `copies` fixed copies an epoch shows: the first, the second ... of an image in turn."""
        return (epoch // self._most + epoch % self._most) % copies


def repeat_factors(classes: Sequence[np.ndarray], threshold: Fraction) -> np.ndarray:
    """Returns the repeats of each image in an epoch, [n] float64 from 1, by the classes [m] of its objects."""
    held = [np.unique(labels) for labels in classes]
    labels, images = np.unique(np.concatenate([*held, []]), return_counts=True)
    factors = dict(zip(labels.tolist(), np.maximum(1.0, np.sqrt(threshold * len(held) / images)), strict=True))
    return np.asarray([max((factors[label] for label in row.tolist()), default=1.0) for row in held])
