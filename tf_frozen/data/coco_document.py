"""Writes examples as a COCO JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from tf_frozen.data.category import Category
from tf_frozen.data.example import Example


def coco_document(examples: Sequence[Example], categories: Sequence[Category]) -> dict[str, Any]:
    """Returns the COCO JSON of a data set; annotations are numbered from 1, in order."""
    rows = (row for example in examples for row in _annotations(example, categories))
    return {
        "info": {},
        "images": [{"id": each.image_id, "height": each.height, "width": each.width} for each in examples],
        "annotations": [{"id": number, **row} for number, row in enumerate(rows, start=1)],
        "categories": [category._asdict() for category in categories],
    }


def _annotations(example: Example, categories: Sequence[Category]) -> Iterator[dict[str, Any]]:
    objects = zip(example.boxes.tolist(), example.classes.tolist(), example.crowd.tolist(), strict=True)
    for place, ((y1, x1, y2, x2), label, crowd) in enumerate(objects):
        row = {"image_id": example.image_id, "category_id": categories[label - 1].id, "iscrowd": int(crowd)}
        row["bbox"] = [x1, y1, x2 - x1, y2 - y1]
        if example.segmentations is None:
            row["area"] = (y2 - y1) * (x2 - x1)
        else:  # whose area is the object's: scoring computes it
            row["segmentation"] = example.segmentations[place]
        yield row
