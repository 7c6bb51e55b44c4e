"""Checks the targets of a head, so that a wrong batch raises an error instead of giving a meaningless loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from tf_frozen.errors import DataError
from tf_frozen.geometry import boxes as box_ops

_MAY = {
    "image_size": "[batch, 2], height and width without padding",
    "masks": "[batch, n, height, width], one for each box",
}
_NEEDED = {
    "boxes": "[batch, n, 4], y1, x1, y2, x2 in pixels of the frame",
    "classes": "[batch, n], integers from 1, and 0 for padding",
}


def checked(targets: Mapping[str, Any], num_classes: int | None = None, where: str = "the head") -> dict[str, Any]:
    """The targets with float32 `boxes` [batch, n, 4] and int32 `classes` [batch, n], n at least 1.

    A batch without a box gets one of zeros, which is padding. Raises DataError for boxes or classes that are missing,
    ragged or not numbers, for targets of another shape and, run eagerly, for classes that are not integers of
    0…num_classes; in a graph those are an InvalidArgumentError with the same words. A step that XLA compiles
    (`jit_compile=True`) does not check the values of classes: check the data before it, or run one step without.
    """
    for name, meaning in _NEEDED.items():
        if name not in targets:
            raise DataError(f"The targets of {where} lack {name!r} {meaning}; they have {', '.join(sorted(targets))}.")
        if isinstance(targets[name], tf.RaggedTensor):
            raise DataError(f"The targets of {where} have ragged {name!r}: give {meaning}, as by to_tensor().")
    boxes, classes = (tf.convert_to_tensor(targets[name]) for name in _NEEDED)
    ranks = boxes.shape.rank, classes.shape.rank
    if not all(x.dtype.is_floating or x.dtype.is_integer for x in (boxes, classes)):
        raise DataError(
            f"The targets of {where} have boxes of {boxes.dtype.name} and classes of {classes.dtype.name}; both must "
            f"be numbers: boxes {_NEEDED['boxes']}, and classes {_NEEDED['classes']}."
        )
    if ranks != (3, 2) or boxes.shape[-1] != 4 or not boxes.shape[:2].is_compatible_with(classes.shape):
        raise DataError(
            f"The targets of {where} have boxes {boxes.shape} and classes {classes.shape}; boxes must be "
            f"{_NEEDED['boxes']}, and classes {_NEEDED['classes']}."
        )
    for name, expected in (("image_size", [boxes.shape[0], 2]), ("masks", [*classes.shape, None, None])):
        shape = tf.convert_to_tensor(targets[name]).shape if name in targets else None
        if not tf.TensorShape(shape).is_compatible_with(expected):
            raise DataError(
                f"The targets of {where} have {name!r} {shape} beside boxes {boxes.shape}; they must be {_MAY[name]}."
            )
    boxes, classes = box_ops.at_least_one(tf.cast(boxes, tf.float32), classes)
    classes = tf.cast(classes, tf.int32) if num_classes is None else in_range(classes, num_classes, where)
    return {**targets, "boxes": boxes, "classes": classes}


def in_range(classes: tf.Tensor, num_classes: int, where: str) -> tf.Tensor:
    """The classes as int32, which must be integers of 0…num_classes; raises what `checked` raises."""
    words = (
        f"of the targets' classes is not one of {where}, whose num_classes is {num_classes}: classes are 1 to "
        f"{num_classes}, and 0 is padding. Set num_classes to the number of categories, or number them from 1."
    )
    whole = tf.cast(classes, tf.int32)
    wrong = (whole < 0) | (whole > num_classes) | (tf.cast(whole, classes.dtype) != classes)
    first = tf.gather(tf.reshape(classes, [-1]), tf.argmax(tf.cast(tf.reshape(wrong, [-1]), tf.int32)))
    if tf.executing_eagerly():
        if tf.reduce_any(wrong):
            raise DataError(f"Class {first.numpy():g} {words}")
        return whole
    with tf.control_dependencies([tf.debugging.Assert(~tf.reduce_any(wrong), ["Class", first, words])]):
        return tf.identity(whole)
