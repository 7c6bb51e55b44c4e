"""Sampling of the anchors or RoIs that train a head, as an argument of heads; see `geometry/sampling.py`."""

from __future__ import annotations

import gin
import tensorflow as tf

from tf_frozen.config.ranges import Fraction, PositiveInt
from tf_frozen.config.serializable import Serializable
from tf_frozen.geometry.sampling import sample_balanced
from tf_frozen.keras_flavor import keras


@gin.configurable
@keras.utils.register_keras_serializable("tf_frozen")
class BalancedSampler(Serializable):
    """Draws `samples` anchors or RoIs of an image, at most `positive_fraction` of them positive."""

    def __init__(self, samples: PositiveInt = 256, positive_fraction: Fraction = 0.5):
        self.samples, self.positive_fraction = samples, positive_fraction

    def __call__(self, positive: tf.Tensor, negative: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Masks of the drawn positives and negatives, each [B, n] bool; `seed` int32 [2] is the draw."""
        return sample_balanced(positive, negative, self.samples, self.positive_fraction, seed)
