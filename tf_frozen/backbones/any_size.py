"""Padding for networks that are exact only on images whose sides are multiples of their highest stride."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf


def pad(images: tf.Tensor, stride: int) -> tf.Tensor:
    """Pads [batch, H, W, C] with zeros at the bottom and right, up to multiples of the stride."""
    height, width = _sides(images)
    return tf.pad(images, [[0, 0], [0, -height % stride], [0, -width % stride], [0, 0]])


def cut(pyramid: Mapping[int, tf.Tensor], images: tf.Tensor) -> dict[int, tf.Tensor]:
    """Crops each map to ⌈H/2^level⌉ × ⌈W/2^level⌉, the part that belongs to the unpadded images [batch, H, W, C]."""
    height, width = _sides(images)
    return {level: maps[:, : -(-height // 2**level), : -(-width // 2**level)] for level, maps in pyramid.items()}


def _sides(images: tf.Tensor) -> list[int | tf.Tensor]:
    """Height and width: integers where they are known, so that the shapes of what follows are known too."""
    dynamic = tf.shape(images)
    return [dynamic[axis] if images.shape[axis] is None else images.shape[axis] for axis in (1, 2)]
