"""Random crops at a fixed number of frame pixels per image pixel, for imagery of fixed scale."""

from __future__ import annotations

import gin
import numpy as np
import tensorflow as tf

from tf_frozen.config.checked import Checked
from tf_frozen.config.ranges import Fraction, PositiveFloat
from tf_frozen.data.augmentation.objects import Objects
from tf_frozen.data.augmentation.placing import place_objects
from tf_frozen.errors import ConfigError


@gin.configurable
class NativeCrops(Checked):
    """Scales images of any size by `magnification` × U(`minimum`, `maximum`) and crops them at a random place.

    So objects have the same size in pixels whatever the size of the image around them; for aerial, microscopy and
    inspection imagery. With a probability of `on_object` a crop is placed where it holds the centre of a random object,
    as most of a large field may be empty. An image smaller than the crop is padded at the bottom and right. A box stays
    when at least `min_visible` of its area does. Raises ConfigError for an impossible argument.
    """

    def __init__(
        self,
        magnification: PositiveFloat = 1.0,
        minimum: PositiveFloat = 0.8,
        maximum: PositiveFloat = 1.25,
        min_visible: Fraction = 0.3,
        on_object: Fraction = 0.5,
    ):
        if minimum > maximum:
            raise ConfigError(f"NativeCrops.minimum is {minimum!r} and its maximum {maximum!r}; it must not be above.")
        self.magnification, self.minimum, self.maximum = magnification, minimum, maximum
        self.min_visible, self.on_object = min_visible, on_object

    def __call__(
        self, image: tf.Tensor, objects: Objects, frame: tuple[int, int], crop: tuple[int, int], seed: tf.Tensor
    ) -> tuple[tf.Tensor, Objects, tf.Tensor, tf.Tensor, tf.Tensor]:
        """Gives the crop [H, W, 3], n objects, which of them stay [n], image_size [2] and the scale, a scalar."""
        del frame  # it is the crop's size that counts
        draw = tf.random.stateless_uniform([4], seed)
        scale = self.magnification * (self.minimum + (self.maximum - self.minimum) * draw[0])
        excess = tf.maximum(tf.cast(tf.shape(image)[:2], tf.float32) * scale - tf.constant(crop, tf.float32), 0.0)
        around = self._around_object(objects["boxes"] * scale, crop, draw[1:3], seed)
        at_random = (draw[3] >= self.on_object) | (tf.shape(objects["boxes"])[0] == 0)
        start = tf.where(at_random, excess * draw[1:3], tf.clip_by_value(around, 0.0, excess))
        scales = tf.stack([scale, scale])
        framed, placed, stay, image_size = place_objects(
            image, objects, crop, scales, -tf.round(start), self.min_visible
        )
        return framed, placed, stay, image_size, scale

    def scale_range(self, fill: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The least and largest scale [n] of n images, whatever their sizes."""
        scale = np.full_like(fill, self.magnification)
        return scale * self.minimum, scale * self.maximum

    def _around_object(self, boxes: tf.Tensor, crop: tuple[int, int], draw: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Draws the start [2] of a crop that holds the centre of one of the boxes [n, 4]; meaningless if n is 0."""
        boxes = tf.pad(boxes, [[0, 1], [0, 0]])
        choice = tf.random.experimental.stateless_fold_in(seed, 1)
        count = tf.maximum(tf.shape(boxes)[0] - 1, 1)
        box = boxes[tf.random.stateless_uniform([], choice, 0, count, tf.int32)]
        return (box[:2] + box[2:]) / 2 - tf.constant(crop, tf.float32) * draw
