"""Anchor boxes on a pyramid, as Faster R-CNN and RetinaNet lay them out."""

from __future__ import annotations

import math
from collections.abc import Sequence

import tensorflow as tf

from tf_frozen.errors import ConfigError


def pyramid_anchors(
    image_size: tuple[int, int],
    levels: Sequence[int],
    scale: float = 4.0,
    octaves: int = 3,
    ratios: Sequence[float] = (0.5, 1.0, 2.0),
) -> dict[int, tf.Tensor]:
    """Anchors {level: [H_l * W_l * A, 4]} float32 [y1, x1, y2, x2] in pixels of a frame of (height, width).

    A = octaves * len(ratios) anchors share each cell's centre; they come cell by cell (rows first), then
    octave by octave, then ratio (width / height) by ratio. An anchor's side is scale * 2^level *
    2^(octave / octaves). Anchors may reach over the frame. Raises ConfigError for sides that are not above 0.
    """
    if octaves < 1 or not ratios or min(scale, *ratios) <= 0:
        raise ConfigError(
            f"Anchors cannot have scale {scale!r}, {octaves!r} octaves and ratios {tuple(ratios)!r}: there must be an "
            f"octave and a ratio, and all must be above 0."
        )
    shapes = {level: _shapes(level, scale, octaves, ratios) for level in levels}
    return {level: _level_anchors(image_size, level, shapes[level]) for level in levels}


def _shapes(level: int, scale: float, octaves: int, ratios: Sequence[float]) -> list[tuple[float, float]]:
    """(height, width) in pixels of the anchors of one cell."""
    sides = [scale * 2.0 ** (level + octave / octaves) for octave in range(octaves)]
    return [(side / math.sqrt(ratio), side * math.sqrt(ratio)) for side in sides for ratio in ratios]


def _level_anchors(image_size: tuple[int, int], level: int, shapes: list[tuple[float, float]]) -> tf.Tensor:
    """Anchors [H_l * W_l * A, 4] of one level."""
    y, x = (_centers(extent, level) for extent in image_size)
    center = tf.stack(tf.meshgrid(y, x, indexing="ij"), axis=-1)[:, :, tf.newaxis, :]
    half = 0.5 * tf.constant(shapes, tf.float32)
    return tf.reshape(tf.concat([center - half, center + half], axis=-1), [-1, 4])


def _centers(extent: int, level: int) -> tf.Tensor:
    """Centres in pixels of the cells along an axis of `extent` pixels."""
    cells = math.ceil(extent / 2**level)
    # A frame that 2^level does not divide is shared out evenly, not cut into steps of 2^level.
    return (tf.range(cells, dtype=tf.float32) + 0.5) * (extent / cells)
