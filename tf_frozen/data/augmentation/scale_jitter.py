"""Large scale jittering (Ghiasi et al. 2021, arXiv 2012.07177, section 3): resize at random, then crop or pad."""

from __future__ import annotations

import gin
import numpy as np
import tensorflow as tf

from tf_frozen.config.checked import Checked
from tf_frozen.config.ranges import Fraction, NonNegativeFloat, PositiveFloat
from tf_frozen.data.augmentation.objects import Objects
from tf_frozen.data.augmentation.placing import place_objects
from tf_frozen.errors import ConfigError


@gin.configurable
class ScaleJitter(Checked):
    """Resizes an image to U(`minimum`, `maximum`) times the size that fills the frame and places it there.

    A side longer than the crop is cropped at a random place, a shorter one is padded at the bottom or right. A box
    stays when at least `min_visible` of its area does. `aspect` a: height and width differ by up to 1 + a.
    """

    def __init__(
        self,
        minimum: PositiveFloat = 0.1,
        maximum: PositiveFloat = 2.0,
        min_visible: Fraction = 0.0,
        aspect: NonNegativeFloat = 0.0,
    ):
        if minimum > maximum:
            raise ConfigError(f"ScaleJitter.minimum is {minimum!r} and its maximum {maximum!r}; it must not be above.")
        self.minimum, self.maximum = minimum, maximum
        self.min_visible, self.aspect = min_visible, aspect

    def __call__(
        self, image: tf.Tensor, objects: Objects, frame: tuple[int, int], crop: tuple[int, int], seed: tf.Tensor
    ) -> tuple[tf.Tensor, Objects, tf.Tensor, tf.Tensor, tf.Tensor]:
        """Gives the crop [H, W, 3], n objects, which of them stay [n], image_size [2] and the scale, a scalar."""
        draw = tf.random.stateless_uniform([4], seed)
        size, target = tf.cast(tf.shape(image)[:2], tf.float32), tf.constant(crop, tf.float32)
        scale = tf.reduce_min(tf.constant(frame, tf.float32) / size) * (
            self.minimum + (self.maximum - self.minimum) * draw[0]
        )
        stretch = tf.exp(tf.math.log(1.0 + self.aspect) * (draw[3] - 0.5))
        scales = scale * tf.stack([stretch, 1.0 / stretch])
        shift = -tf.round(tf.maximum(size * scales - target, 0.0) * draw[1:3])
        framed, placed, stay, image_size = place_objects(image, objects, crop, scales, shift, self.min_visible)
        return framed, placed, stay, image_size, scale

    def scale_range(self, fill: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The least and largest scale [n] of images [n] that fill the frame at scales `fill` [n]."""
        return fill * self.minimum, fill * self.maximum
