"""Non-maximum suppression within classes (or pyramid levels), and a detector's final selection."""

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


def select_detections(
    boxes: tf.Tensor,
    probabilities: tf.Tensor,
    score_threshold: float,
    nms_iou: float,
    maximum: int,
    candidates: int = 5000,
) -> dict[str, tf.Tensor]:
    """The best detections of every image, after suppression within each class.

    `boxes` [B, n, 4], or [B, n, K, 4] when every class has its own box; `probabilities` [B, n, K] without
    the background. Only the `candidates` largest probabilities of an image compete. Returns boxes
    [B, maximum, 4], scores [B, maximum], classes [B, maximum] int32 in 1..K and count [B] int32; rows from
    count on are zeros.
    """
    boxes, scores, classes = _best_candidates(boxes, probabilities, candidates)
    kept, valid = batched_nms(boxes, scores, classes, nms_iou, maximum, score_threshold)
    return gather_detections(boxes, scores, classes, kept, valid)


def gather_detections(
    boxes: tf.Tensor, scores: tf.Tensor, classes: tf.Tensor, kept: tf.Tensor, valid: tf.Tensor
) -> dict[str, tf.Tensor]:
    """What `batched_nms` kept of boxes [B, n, 4], scores [B, n] and classes [B, n]; see `select_detections`."""
    return {
        "boxes": tf.where(valid[..., tf.newaxis], tf.gather(boxes, kept, batch_dims=1), 0.0),
        "scores": tf.where(valid, tf.gather(scores, kept, batch_dims=1), 0.0),
        "classes": tf.where(valid, tf.gather(classes, kept, batch_dims=1), 0),
        "count": tf.reduce_sum(tf.cast(valid, tf.int32), axis=-1),
    }


def _best_candidates(
    boxes: tf.Tensor, probabilities: tf.Tensor, candidates: int
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Boxes [B, c, 4], scores [B, c], classes [B, c] (1..K) of the c <= candidates largest probabilities."""
    batch, classes = tf.shape(boxes)[0], probabilities.shape[-1]
    available = _size(boxes, 1) * classes
    limit = min(candidates, available) if isinstance(available, int) else tf.minimum(candidates, available)
    flat = tf.reshape(tf.cast(probabilities, tf.float32), [batch, available])
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


def _size(tensor: tf.Tensor, axis: int) -> int | tf.Tensor:
    """The length of an axis: an int where it is known while tracing."""
    return tensor.shape[axis] if tensor.shape[axis] is not None else tf.shape(tensor)[axis]
