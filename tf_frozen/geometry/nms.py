"""Non-maximum suppression, hard and soft, within classes or pyramid levels."""

from __future__ import annotations

import tensorflow as tf

from tf_frozen.geometry import boxes as box_ops


def batched_nms(
    boxes: tf.Tensor,
    scores: tf.Tensor,
    groups: tf.Tensor,
    iou: float,
    maximum: int | tf.Tensor,
    score_threshold: float = float("-inf"),
) -> tuple[tf.Tensor, tf.Tensor]:
    """Greedy suppression in every image; boxes of different groups never suppress one another.

    `boxes` [B, n, 4] pixels, clipped to the frame (one absurdly large box costs the others precision);
    `scores` [B, n]; `groups` [B, n] int32, not negative. A box goes when a better one of its group overlaps
    it by more than `iou`, when its score is not above `score_threshold`, or when it has no area or is not
    finite. Returns indices [B, maximum] int32 into the n boxes, best score first, and valid [B, maximum]
    bool; invalid indices are 0.
    """
    boxes, area = tf.cast(boxes, tf.float32), box_ops.area(tf.cast(boxes, tf.float32))
    usable = (area > 0.0) & tf.math.is_finite(area)
    # The kernel takes only scores above its threshold: minus infinity never is.
    scores = tf.where(usable, tf.cast(scores, tf.float32), float("-inf"))
    apart = _set_apart(tf.where(usable[..., tf.newaxis], boxes, 0.0), groups)

    def one_image(inputs: tuple[tf.Tensor, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        selected = tf.raw_ops.NonMaxSuppressionV4(
            boxes=inputs[0],
            scores=inputs[1],
            max_output_size=maximum,
            iou_threshold=iou,
            score_threshold=score_threshold,
            pad_to_max_output_size=True,
        )
        return selected.selected_indices, selected.valid_outputs

    length = maximum if isinstance(maximum, int) else None
    signature = (tf.TensorSpec([length], tf.int32), tf.TensorSpec([], tf.int32))
    indices, count = tf.map_fn(one_image, (apart, scores), fn_output_signature=signature)
    valid = tf.range(maximum) < count[:, tf.newaxis]
    return tf.where(valid, indices, 0), valid


def batched_soft_nms(
    boxes: tf.Tensor,
    scores: tf.Tensor,
    groups: tf.Tensor,
    sigma: float,
    maximum: int,
    score_threshold: float = float("-inf"),
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Soft suppression in every image (Bodla et al. 2017, arXiv 1704.04503, equation 3).

    A box that is chosen multiplies the scores of the others of its group by exp(-IoU² / sigma); the best of what is
    left comes next, while its score is above `score_threshold`. Boxes [B, n, 4], `scores` [B, n] not negative and
    `groups` [B, n] as in `batched_nms`. Returns indices [B, maximum] int32 into the n boxes, valid [B, maximum] bool,
    and the lowered scores [B, maximum], best first; invalid indices are 0.
    """
    boxes, area = tf.cast(boxes, tf.float32), box_ops.area(tf.cast(boxes, tf.float32))
    usable = (area > 0.0) & tf.math.is_finite(area)
    boxes, scores = tf.where(usable[..., tf.newaxis], boxes, 0.0), tf.where(usable, tf.cast(scores, tf.float32), -1.0)
    # One more that is never valid, to choose where there is no box.
    boxes, scores = tf.pad(boxes, [[0, 0], [0, 1], [0, 0]]), tf.pad(scores, [[0, 0], [0, 1]], constant_values=-1.0)
    groups = tf.pad(groups, [[0, 0], [0, 1]])

    # NonMaxSuppressionV5 does the same, but neither compiles with XLA nor runs on a GPU.
    def choose(step: tf.Tensor, left: tf.Tensor, indices: tf.TensorArray, best: tf.TensorArray) -> tuple:
        index = tf.argmax(left, -1, output_type=tf.int32)
        box, group, score = (_pick(rows, index) for rows in (boxes, groups, left))
        overlap = tf.where(groups == group, box_ops.iou(box, boxes)[:, 0], 0.0)
        stays = (left >= 0.0) & (tf.range(tf.shape(left)[1]) != index[:, tf.newaxis])
        left = tf.where(stays, left * tf.exp(-tf.square(overlap) / sigma), -1.0)
        return step + 1, left, indices.write(step, index), best.write(step, score[:, 0])

    lists = (tf.TensorArray(dtype, maximum, element_shape=[boxes.shape[0]]) for dtype in (tf.int32, tf.float32))
    _, _, indices, best = tf.while_loop(lambda step, *_: step < maximum, choose, (0, scores, *lists))
    indices, best = tf.transpose(indices.stack()), tf.transpose(best.stack())
    valid = (best >= 0.0) & (best > score_threshold)
    return tf.where(valid, indices, 0), valid, best


def gather_detections(
    boxes: tf.Tensor, scores: tf.Tensor, classes: tf.Tensor, kept: tf.Tensor, valid: tf.Tensor
) -> dict[str, tf.Tensor]:
    """Gathers what `batched_nms` kept of boxes [B, n, 4], scores and classes [B, n], with count [B]; the rest is 0."""
    return {
        "boxes": tf.where(valid[..., tf.newaxis], tf.gather(boxes, kept, batch_dims=1), 0.0),
        "scores": tf.where(valid, tf.gather(scores, kept, batch_dims=1), 0.0),
        "classes": tf.where(valid, tf.gather(classes, kept, batch_dims=1), 0),
        "count": tf.reduce_sum(tf.cast(valid, tf.int32), axis=-1),
    }


def best_candidates(boxes: tf.Tensor, scores: tf.Tensor, candidates: int) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Boxes [B, c, 4], scores [B, c], classes [B, c] (1..K) of the c <= candidates largest scores [B, n, K].

    `boxes` are [B, n, 4], or [B, n, K, 4] when every class has its own box.
    """
    batch, classes = tf.shape(boxes)[0], scores.shape[-1]
    available = _size(boxes, 1) * classes
    limit = min(candidates, available) if isinstance(available, int) else tf.minimum(candidates, available)
    flat = tf.reshape(tf.cast(scores, tf.float32), [batch, available])
    scores, index = tf.math.top_k(flat, k=limit)
    has_box_per_class = boxes.shape.rank == 4
    boxes = tf.reshape(tf.cast(boxes, tf.float32), [batch, -1, 4])
    boxes = tf.gather(boxes, index if has_box_per_class else index // classes, batch_dims=1)
    return boxes, scores, index % classes + 1


def _set_apart(boxes: tf.Tensor, groups: tf.Tensor) -> tf.Tensor:
    """Boxes [B, n, 4] moved so that each group has a cell of the plane to itself.

    The cells form a square around the origin: with 1203 groups in a row of 1280-pixel cells, coordinates
    would reach 1.5 million, where float32 steps by an eighth of a pixel; in the square they stay below 2^15,
    with steps of at most 1/512 pixel.
    """
    low, high = tf.reduce_min(boxes), tf.reduce_max(boxes)
    cell = tf.math.ceil(high - low) + 1.0
    side = tf.cast(tf.math.ceil(tf.sqrt(tf.cast(tf.reduce_max(groups) + 1, tf.float32))), groups.dtype)
    place = tf.cast(tf.stack([groups // side, groups % side], axis=-1), tf.float32)
    offset = (place - 0.5 * tf.cast(side, tf.float32)) * cell - low
    return boxes + tf.concat([offset, offset], axis=-1)


def _pick(rows: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
    """Row index[b] of every image, [B, 1, ...] from [B, n, ...]."""
    return tf.gather(rows, index[:, tf.newaxis], batch_dims=1)


def _size(tensor: tf.Tensor, axis: int) -> int | tf.Tensor:
    """The length of an axis: an int where it is known while tracing."""
    return tensor.shape[axis] if tensor.shape[axis] is not None else tf.shape(tensor)[axis]
