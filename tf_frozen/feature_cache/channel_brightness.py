"""Brightness of frozen features (Bär et al. 2024, arXiv 2403.10519)."""

from __future__ import annotations

from collections.abc import Mapping

import gin
import tensorflow as tf

from tf_frozen.config.checked import Checked
from tf_frozen.config.ranges import NonNegativeFloat


@gin.configurable
class ChannelBrightness(Checked):
    """Frozen feature augmentation by brightness, with its own draw and range for each channel (c²FroFA).

    A channel f of an image's map becomes x = (f − min f) / (max f − min f), x + U(−`brightness`, `brightness`), and is
    mapped back. `per_channel` False draws once for all channels of a map. Nothing is clipped: features have no fixed
    range.
    """

    def __init__(self, brightness: NonNegativeFloat = 0.1, per_channel: bool = True):
        self.brightness, self.per_channel = brightness, per_channel

    def __call__(self, maps: Mapping[str, tf.Tensor], seeds: tf.Tensor) -> dict[str, tf.Tensor]:
        """Changes maps [B, h, w, channels], each image by its row of `seeds` [B, 2]; the dtype stays."""
        return {level: self._brightened(features, seeds, int(level)) for level, features in maps.items()}

    def _brightened(self, features: tf.Tensor, seeds: tf.Tensor, level: int) -> tf.Tensor:
        draws = [features.shape[-1] if self.per_channel else 1]
        seeds = [tf.random.experimental.stateless_fold_in(seed, level) for seed in tf.unstack(seeds)]
        shift = [tf.random.stateless_uniform(draws, seed, -self.brightness, self.brightness) for seed in seeds]
        # Added after the mapping to 0…1 and mapped back, a shift is in units of the channel's range.
        reach = tf.reduce_max(features, [1, 2]) - tf.reduce_min(features, [1, 2])
        shift = tf.stack(shift) * tf.cast(reach, tf.float32)
        return tf.cast(tf.cast(features, tf.float32) + shift[:, tf.newaxis, tf.newaxis], features.dtype)
