"""Random changes of brightness, contrast, saturation and hue."""

from __future__ import annotations

from typing import Annotated

import gin
import tensorflow as tf

from tf_frozen.config.checked import Checked
from tf_frozen.config.ranges import Fraction, Range
from tf_frozen.data.augmentation.objects import Objects


@gin.configurable
class ColorJitter(Checked):
    """Shifts brightness (of 1), scales contrast and saturation by 1 ± x, turns hue by up to x of a full circle."""

    def __init__(
        self,
        brightness: Fraction = 0.2,
        contrast: Fraction = 0.3,
        saturation: Fraction = 0.3,
        hue: Annotated[float, Range(0, 0.5)] = 0.03,
    ):
        self.brightness, self.contrast, self.saturation, self.hue = brightness, contrast, saturation, hue

    def __call__(self, image: tf.Tensor, objects: Objects, seed: tf.Tensor) -> tuple[tf.Tensor, Objects]:
        """Changes the colours of image [h, w, 3] in 0…255; objects stay; `seed` int32 [2]."""
        low = tf.constant([-self.brightness, 1 - self.contrast, 1 - self.saturation, -self.hue])
        high = tf.constant([self.brightness, 1 + self.contrast, 1 + self.saturation, self.hue])
        brightness, contrast, saturation, hue = tf.unstack(low + (high - low) * tf.random.stateless_uniform([4], seed))
        image = tf.cast(image, tf.float32) / 255.0
        image = tf.image.adjust_contrast(image + brightness, contrast)
        image = tf.image.adjust_hue(tf.image.adjust_saturation(tf.clip_by_value(image, 0.0, 1.0), saturation), hue)
        return tf.clip_by_value(image, 0.0, 1.0) * 255.0, objects
