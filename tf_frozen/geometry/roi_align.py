"""RoIAlign on a feature pyramid (He et al. 2017, section 3; levels by Lin et al. 2017, equation 1)."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from tf_frozen.geometry import boxes as box_ops

# A box of this side in pixels, the classic size of an ImageNet image, is read from level 4.
CANONICAL_SIDE, CANONICAL_LEVEL = 224.0, 4


def roi_align(
    pyramid: Mapping[int, tf.Tensor],
    boxes: tf.Tensor,
    output_size: int = 7,
    sampling: int = 1,
    aligned: bool = True,
) -> tf.Tensor:
    """Features [B, n, output_size, output_size, C] of boxes [B, n, 4] in pixels of the network's frame.

    `pyramid` is {level: [B, h, w, C]}. Each box is read from level floor(log2(sqrt(area) / 224)) + 4, or
    the nearest there is, bilinearly at the centres of sampling x sampling equal parts of every bin; the parts
    are averaged. If `aligned`, a cell's value belongs to its centre, where convolutions put it; if not, to its upper
    left corner, half a cell off: so Model Garden reads, and so the paper's models were trained. Beyond the outermost
    cells the border's value holds. No gradient flows into the boxes. The result has the pyramid's dtype.
    """
    levels, points, center = sorted(pyramid), output_size * sampling, 0.5 if aligned else 0.0
    boxes = tf.stop_gradient(tf.cast(boxes, tf.float32))
    sizes = tf.stack([tf.shape(pyramid[level])[1:3] for level in levels])
    slot = _slots(boxes, levels)
    stride = tf.gather(tf.constant([2.0**level for level in levels]), slot)
    size = tf.gather(sizes, slot)
    near, far = (edge / stride[..., tf.newaxis] for edge in (boxes[..., :2], boxes[..., 2:]))
    y, y_weight = _samples(near[..., 0], far[..., 0], size[..., 0], points, center)
    x, x_weight = _samples(near[..., 1], far[..., 1], size[..., 1], points, center)
    areas = tf.reduce_prod(sizes, axis=-1)
    start = tf.gather(tf.cumsum(areas, exclusive=True), slot)
    start += tf.range(tf.shape(boxes)[0])[:, tf.newaxis] * tf.reduce_sum(areas)
    row = start[..., tf.newaxis] + y * size[..., 1, tf.newaxis]
    flat = _flatten(pyramid, levels)
    # One corner of the samples after the other: all four at once take four times the memory.
    corners = [
        _weighted(flat, row[..., i::2, tf.newaxis] + x[..., tf.newaxis, j::2], y_weight[..., i::2], x_weight[..., j::2])
        for i in range(2)
        for j in range(2)
    ]
    return _bins(tf.add_n(corners), output_size)


def _slots(boxes: tf.Tensor, levels: list[int]) -> tf.Tensor:
    """Position [B, n] int32 in `levels` of the level that each box [B, n, 4] is read from."""
    # Counting the thresholds passed is exact at the steps, where a rounded logarithm falls to either side.
    area = box_ops.area(boxes)
    steps = [(CANONICAL_SIDE * 2.0 ** (level - CANONICAL_LEVEL)) ** 2 for level in levels[1:]]
    passed = area[..., tf.newaxis] >= tf.constant(steps, tf.float32, shape=[len(steps)])
    return tf.reduce_sum(tf.cast(passed, tf.int32), axis=-1)


def _samples(
    near: tf.Tensor, far: tf.Tensor, size: tf.Tensor, points: int, center: float
) -> tuple[tf.Tensor, tf.Tensor]:
    """Cells [B, n, 2 * points] int32 that `points` samples along one axis lie between, and their weights.

    `near`, `far` [B, n] are the box's edges in cells, `size` [B, n] int32 the map's length; the value of cell i is
    that of the point i + `center`.
    """
    fraction = (tf.range(points, dtype=tf.float32) + 0.5) / points
    position = near[..., tf.newaxis] + (far - near)[..., tf.newaxis] * fraction - center
    last = tf.cast(size, tf.float32)[..., tf.newaxis] - 1.0
    position = tf.clip_by_value(position, 0.0, last)
    low = tf.floor(position)
    cell = tf.repeat(tf.cast(low, tf.int32), 2, axis=-1) + tf.tile([0, 1], [points])
    upper = position - low
    weight = tf.reshape(tf.stack([1.0 - upper, upper], axis=-1), tf.shape(cell))
    # Bounded as integers too: a NaN box must give NaN features, not a read outside the map.
    return tf.clip_by_value(cell, 0, size[..., tf.newaxis] - 1), weight


def _flatten(pyramid: Mapping[int, tf.Tensor], levels: list[int]) -> tf.Tensor:
    """All cells of all levels [B, m, C]."""
    channels = pyramid[levels[0]].shape[-1]
    batch = tf.shape(pyramid[levels[0]])[0]
    flat = [tf.reshape(pyramid[level], [batch, -1, channels]) for level in levels]
    return tf.concat(flat, axis=1)


def _weighted(flat: tf.Tensor, cells: tf.Tensor, y_weight: tf.Tensor, x_weight: tf.Tensor) -> tf.Tensor:
    """Features [B, n, P, P, C]: rows `cells` of all images in `flat` [B, m, C], times the weights [B, n, P] by axis."""
    weights = y_weight[..., :, tf.newaxis] * x_weight[..., tf.newaxis, :]
    # The gradient of a reshape is dense: those of all gathers would be kept, and joined, as slices of `flat`.
    table = tf.reshape(flat, [-1, flat.shape[-1]])
    return tf.gather(table, cells) * tf.cast(weights, flat.dtype)[..., tf.newaxis]


def _bins(samples: tf.Tensor, output_size: int) -> tf.Tensor:
    """Means [B, n, S, S, C] of the samples [B, n, P, P, C] of each bin; P is a multiple of S."""
    side, channels = samples.shape[-2:]
    if side == output_size:
        return samples
    window = side // output_size
    mean = tf.nn.avg_pool2d(tf.reshape(samples, [-1, side, side, channels]), window, window, "VALID")
    batch = [size or tf.shape(samples)[axis] for axis, size in enumerate(samples.shape[:2])]
    return tf.reshape(mean, [*batch, output_size, output_size, channels])
