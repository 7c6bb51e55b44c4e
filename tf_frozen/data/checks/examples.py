"""Checks the examples of any data source."""

from __future__ import annotations

import collections
from collections.abc import Iterator

import numpy as np

from tf_frozen.data.example import Example
from tf_frozen.data.faults import Fault
from tf_frozen.data.source import DataSource


def check_examples(source: DataSource) -> list[Fault]:
    """Returns what is wrong with a data set's examples and categories: ids, shapes, boxes and classes."""
    if not source.examples or not source.categories:
        kind = "no_categories" if source.examples else "no_images"
        return [Fault(kind, str(source), message=f"the data source has {kind.replace('_', ' ')}")]
    images = collections.Counter(example.image_id for example in source.examples)
    faults = []
    for index, example in enumerate(source.examples):
        faults += [
            Fault("malformed_example", source.describe(index), example.image_id, None, box, message)
            for box, message in _wrong(example, len(source.categories))
        ]
        if images[example.image_id] > 1:
            message = f"{images[example.image_id]} examples have this image_id"
            faults.append(Fault("malformed_example", source.describe(index), example.image_id, message=message))
    if not faults and all(example.crowd.all() for example in source.examples):
        faults.append(Fault("no_boxes", str(source), message="no example has an object to train on"))
    return faults


def _wrong(example: Example, num_classes: int) -> Iterator[tuple[list[float] | None, str]]:
    """Yields a box, None where it is not about one, and what is wrong."""
    count, boxes, classes = len(example.boxes), example.boxes, example.classes
    shapes = {"boxes": (count, 4), "classes": (count,), "crowd": (count,)}
    shapes = {name: shape for name, shape in shapes.items() if getattr(example, name).shape != shape}
    for name, shape in shapes.items():
        yield None, f"{name} has the shape {list(getattr(example, name).shape)}, not {list(shape)}"
    if example.segmentations is not None and len(example.segmentations) != count:
        yield None, f"there are {len(example.segmentations)} segmentations of {count} boxes"
    if shapes:
        return
    inside = (boxes >= 0) & (boxes <= [example.height, example.width] * 2)  # False for NaN
    usable = inside.all(1) & (boxes[:, :2] < boxes[:, 2:]).all(1)
    size = f"{example.height} px high and {example.width} wide"
    for row in np.flatnonzero(~usable):
        yield boxes[row].tolist(), f"boxes[{row}] has no area, or reaches beyond the image, which is {size}"
    for row in np.flatnonzero((classes < 1) | (classes > num_classes)):
        yield None, f"classes[{row}] is {classes[row]}; there are {num_classes} categories"
