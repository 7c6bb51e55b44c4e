"""Checks the rows of a COCO ground truth and of COCO results, lists all faults, and numbers them for pycocotools."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pycocotools import mask as coco_mask

from tf_frozen.data.checks.results import Sizes, annotation_fault, entry_faults, has_box, is_size, result_fault
from tf_frozen.data.faults import excerpt
from tf_frozen.data.segmentations import to_rle
from tf_frozen.errors import DataError

_MOST_FAULTS_SHOWN = 20

Numbers = dict[Any, int]


def number_ground_truth(ground_truth: dict) -> tuple[Numbers, Numbers]:
    """Numbers from 1 of the images and of the categories, by their ids; raises DataError where an id is invalid."""
    keys = ("images", "annotations", "categories")
    if not isinstance(ground_truth, dict) or not all(isinstance(ground_truth.get(key), list) for key in keys):
        raise DataError(
            f"Cannot score: the ground truth is {excerpt(ground_truth)}; "
            "it must be a COCO JSON object with the lists images, annotations and categories."
        )
    images, categories = ground_truth["images"], ground_truth["categories"]
    _report("ground truth", [*entry_faults("images", images), *entry_faults("categories", categories)])
    return _number(images), _number(categories)


def _number(entries: list[dict]) -> Numbers:
    """Map ids to 1, 2, …: pycocotools sorts ids, which fails on mixed ones.

    Numeric ids keep their order, so that boxes of equal scores count in the order pycocotools gives them.
    """
    ids = sorted((entry["id"] for entry in entries), key=_numbers_first)
    return {value: number for number, value in enumerate(ids, start=1)}


def _numbers_first(value: Any) -> tuple[bool, float]:
    return (True, 0) if isinstance(value, str) else (False, value)


def image_sizes(ground_truth: dict) -> Sizes:
    """Height and width of each image, which masks need; raises DataError where one has none."""
    sides = [(image.get("height"), image.get("width")) for image in ground_truth["images"]]
    wrong = [row for row, pair in enumerate(sides) if not is_size(*pair)]
    _report("ground truth", [f"images[{row}] has no height and width, which masks need" for row in wrong])
    pairs = zip(ground_truth["images"], sides, strict=True)
    return {image["id"]: (int(height), int(width)) for image, (height, width) in pairs}


def plain_annotations(annotations: list, images: Numbers, categories: Numbers, sizes: Sizes) -> list[dict]:
    """Copies that hold what pycocotools reads; with `sizes` segmentations are RLEs."""
    faults = ((row, annotation_fault(entry, images, categories, sizes)) for row, entry in enumerate(annotations))
    _report("ground truth", [f"annotations[{row}] {fault}" for row, fault in faults if fault])
    rows = [_plain(*numbered, images, categories, sizes) for numbered in enumerate(annotations, start=1)]
    return [
        row | {"area": float(_area(entry, row)), "iscrowd": int(entry.get("iscrowd") or 0)}
        for row, entry in zip(rows, annotations, strict=True)
    ]


def plain_results(results: Sequence[dict], images: Numbers, categories: Numbers, sizes: Sizes) -> list[dict]:
    """Copies that hold what pycocotools reads; with `sizes` segmentations are RLEs."""
    if not isinstance(results, (list, tuple)):
        raise DataError(
            f"Cannot score: the results are {excerpt(results)}; "
            "they must be a list of rows {image_id, category_id, bbox, score}."
        )
    faults = ((row, result_fault(entry, images, categories, sizes)) for row, entry in enumerate(results))
    _report("results", [f"row {row} {fault}" for row, fault in faults if fault])
    return [
        _plain(number, entry, images, categories, sizes) | {"iscrowd": 0, "score": float(entry["score"])}
        for number, entry in enumerate(results, start=1)
    ]


def of_masks(rows: Sequence[dict]) -> list[dict]:
    """Results for scoring masks: their area, which decides what is small, is the mask's and not the box's."""
    return [row | {"area": float(coco_mask.area(row["segmentation"]))} for row in rows]


def _plain(number: int, entry: dict, images: Numbers, categories: Numbers, sizes: Sizes) -> dict:
    """Copy what a score needs, ids from 1, because pycocotools takes an annotation id of 0 for no match.

    The box and area of a row without `bbox` are its mask's, as in pycocotools.
    """
    masks = {"segmentation": to_rle(entry["segmentation"], *sizes[entry["image_id"]])} if sizes else {}
    if has_box(entry):
        box = [float(value) for value in entry["bbox"]]
        area = box[2] * box[3]
    else:
        box, area = coco_mask.toBbox(masks["segmentation"]).tolist(), float(coco_mask.area(masks["segmentation"]))
    ids = {"id": number, "image_id": images[entry["image_id"]], "category_id": categories[entry["category_id"]]}
    return masks | ids | {"bbox": box, "area": area}


def _area(annotation: dict, row: dict) -> float:
    if annotation.get("area") is not None:
        return annotation["area"]
    return coco_mask.area(row["segmentation"]) if "segmentation" in row else row["area"]


def _report(what: str, faults: list[str]) -> None:
    if not faults:
        return
    lines = [f"Cannot score: {len(faults)} fault(s) in the {what} (rows are counted from 0):"]
    lines += faults[:_MOST_FAULTS_SHOWN]
    if len(faults) > _MOST_FAULTS_SHOWN:
        lines.append(f"… and {len(faults) - _MOST_FAULTS_SHOWN} more")
    raise DataError("\n  ".join(lines), faults)
