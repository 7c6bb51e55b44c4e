"""Places an image and its objects in a crop; shared by placements that differ in scale and position."""

from __future__ import annotations

import tensorflow as tf

from tf_frozen.data.augmentation.objects import Objects
from tf_frozen.geometry import boxes as box_ops
from tf_frozen.geometry import masks as mask_ops
from tf_frozen.geometry.resample import place


def place_objects(
    image: tf.Tensor, objects: Objects, crop: tuple[int, int], scales: tf.Tensor, shift: tf.Tensor, min_visible: float
) -> tuple[tf.Tensor, Objects, tf.Tensor, tf.Tensor]:
    """Scales an image [h, w, 3] and its n objects by `scales` [2] and moves them by `shift` [2] into a crop.

    Gives the crop [H, W, 3], the objects, whose boxes end with it, which of them stay [n] and the image_size [2]. A box
    stays when at least `min_visible` of its area does.
    """
    size = tf.cast(tf.shape(image)[:2], tf.float32)
    image_size = tf.minimum(size * scales + shift, tf.constant(crop, tf.float32))
    moved = objects["boxes"] * tf.tile(scales, [2]) + tf.tile(shift, [2])
    clipped = box_ops.clip(moved, image_size[tf.newaxis])
    visible = tf.math.divide_no_nan(box_ops.area(clipped), box_ops.area(moved))
    stay = (box_ops.area(clipped) > 0) & (visible >= min_visible)
    placed = {**objects, "boxes": clipped}
    if "masks" in objects:
        masks = mask_ops.crop(objects["masks"], moved, clipped, objects["masks"].shape[-1]) > 0.5
        placed["masks"] = tf.cast(masks, tf.uint8)
        stay &= tf.reduce_any(masks, [1, 2])  # the object of a clipped box may be outside
    return place(image, crop, scales, shift), placed, stay, image_size
