"""The rows of a COCO ground truth and of COCO results: checked, all faults listed, and numbered for pycocotools."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from tf_frozen.data.checks.boxes import MOST_PX, is_finite, is_number
from tf_frozen.data.checks.rows import is_id, is_text
from tf_frozen.data.faults import excerpt
from tf_frozen.data.segmentations import to_rle, wrong_format
from tf_frozen.errors import DataError

_MOST_FAULTS_SHOWN = 20
_MOST_PIXELS = 2**31  # of an image; pycocotools counts them in 32 bits

Numbers = dict[Any, int]
Sizes = Mapping[Any, tuple[int, int]]
"""Height and width of each image by its id; empty where no masks are scored."""


def number_ground_truth(ground_truth: dict) -> tuple[Numbers, Numbers]:
    """Numbers from 1 of the images and of the categories, by their ids; raises DataError where those are no ids."""
    keys = ("images", "annotations", "categories")
    if not isinstance(ground_truth, dict) or not all(isinstance(ground_truth.get(key), list) for key in keys):
        raise DataError(
            f"Cannot score: the ground truth is {excerpt(ground_truth)}; "
            "it must be a COCO JSON object with the lists images, annotations and categories."
        )
    images, categories = ground_truth["images"], ground_truth["categories"]
    _report("ground truth", [*_id_faults("images", images), *_id_faults("categories", categories)])
    return _number(images), _number(categories)


def _number(entries: list[dict]) -> Numbers:
    """Map ids to 1, 2, …: pycocotools sorts ids, which fails on mixed ones.

    Numeric ids keep their order, so that boxes of equal scores count in the order pycocotools gives them.
    """
    ids = sorted((entry["id"] for entry in entries), key=_numbers_first)
    return {value: number for number, value in enumerate(ids, start=1)}


def _numbers_first(value: Any) -> tuple[bool, float]:
    return (True, 0) if isinstance(value, str) else (False, value)


def _id_faults(key: str, entries: list) -> Iterator[str]:
    seen = set()
    for row, entry in enumerate(entries):
        if not isinstance(entry, dict) or not is_id(entry.get("id")):
            yield f"{key}[{row}] is {excerpt(entry)}, which has no id that is an int or a str"
        elif entry["id"] in seen:
            yield f"{key}[{row}] has the id {entry['id']!r} of an earlier one"
        elif not is_text(str(entry.get("name"))):
            yield f"{key}[{row}] has the name {excerpt(entry['name'])}, which is not valid Unicode"
        else:
            seen.add(entry["id"])


def image_sizes(ground_truth: dict) -> Sizes:
    """Height and width of each image, which masks need; raises DataError where one has none."""
    sides = [(image.get("height"), image.get("width")) for image in ground_truth["images"]]
    wrong = [row for row, pair in enumerate(sides) if not _is_size(*pair)]
    _report("ground truth", [f"images[{row}] has no height and width, which masks need" for row in wrong])
    pairs = zip(ground_truth["images"], sides, strict=True)
    return {image["id"]: (int(height), int(width)) for image, (height, width) in pairs}


def _is_size(height: Any, width: Any) -> bool:
    return all(_is_finite_number(side) and side >= 1 for side in (height, width)) and height * width < _MOST_PIXELS


def plain_annotations(annotations: list, images: Numbers, categories: Numbers, sizes: Sizes) -> list[dict]:
    """Copies that hold what pycocotools reads; with `sizes` segmentations are RLEs."""
    faults = ((row, _annotation_fault(entry, images, categories, sizes)) for row, entry in enumerate(annotations))
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
    faults = ((row, _result_fault(entry, images, categories, sizes)) for row, entry in enumerate(results))
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
    if _has_box(entry):
        box = [float(value) for value in entry["bbox"]]
        area = box[2] * box[3]
    else:
        box, area = coco_mask.toBbox(masks["segmentation"]).tolist(), float(coco_mask.area(masks["segmentation"]))
    ids = {"id": number, "image_id": images[entry["image_id"]], "category_id": categories[entry["category_id"]]}
    return masks | ids | {"bbox": box, "area": area}


def _has_box(entry: dict) -> bool:
    box = entry.get("bbox")
    return box is not None and not (isinstance(box, (list, tuple)) and not box)


def _area(annotation: dict, row: dict) -> float:
    if annotation.get("area") is not None:
        return annotation["area"]
    return coco_mask.area(row["segmentation"]) if "segmentation" in row else row["area"]


def _annotation_fault(entry: Any, images: Numbers, categories: Numbers, sizes: Sizes) -> str | None:
    fault = _row_fault(entry, ("image_id", "category_id"), images, categories, sizes)
    if fault:
        return fault
    if entry.get("area") is not None and not _is_finite_number(entry["area"]):
        return f"(id {excerpt(entry.get('id'))}) has area {excerpt(entry['area'])}, which is not a finite number"
    if entry.get("iscrowd") not in (None, 0, 1):
        return f"(id {excerpt(entry.get('id'))}) has iscrowd {excerpt(entry['iscrowd'])}, which is neither 0 nor 1"
    fault = _mask_fault(entry, sizes)
    return fault and f"(id {excerpt(entry.get('id'))}) {fault}"


def _result_fault(entry: Any, images: Numbers, categories: Numbers, sizes: Sizes) -> str | None:
    fault = _row_fault(entry, ("image_id", "category_id", "score"), images, categories, sizes)
    if fault:
        return fault
    if not _is_finite_number(entry["score"]):
        return f"has score {excerpt(entry['score'])}, which is not a finite number"
    return _mask_fault(entry, sizes)


def _mask_fault(entry: dict, sizes: Sizes) -> str | None:
    if not sizes:
        return None
    if not entry.get("segmentation"):
        return "has no segmentation, which scoring masks needs"
    wrong = wrong_format(entry["segmentation"], *sizes[entry["image_id"]])
    return wrong and f"can't be read: {wrong}"


def _row_fault(entry: Any, keys: tuple[str, ...], images: Numbers, categories: Numbers, sizes: Sizes) -> str | None:
    keys = keys if sizes else (*keys, "bbox")
    if not isinstance(entry, dict):
        return f"is {excerpt(entry)}; it must be an object with {', '.join(keys)}"
    missing = [key for key in keys if key not in entry]
    if missing:
        return f"has no {' and no '.join(missing)}: {excerpt(entry)}"
    for key, known in (("image_id", images), ("category_id", categories)):
        if not is_id(entry[key]) or entry[key] not in known:
            alike = f"ids there look like {next(iter(known))!r}" if known else "which has none"
            return f"has {key} {excerpt(entry[key])}, which the ground truth does not have ({alike})"
    return None if sizes and not _has_box(entry) else _box_fault(entry["bbox"])


def _box_fault(box: Any) -> str | None:
    if not isinstance(box, (list, tuple, np.ndarray)) or len(box) != 4 or not all(map(_is_finite_number, box)):
        return f"has bbox {excerpt(box)}, which is not four finite numbers [x, y, width, height]"
    if max(map(abs, box)) > MOST_PX:
        return f"has bbox {excerpt(box)}, which reaches beyond {MOST_PX:g} px"
    return f"has bbox {excerpt(box)}, whose width or height is negative" if min(box[2:]) < 0 else None


def _is_finite_number(value: Any) -> bool:
    return is_number(value) and is_finite(value)


def _report(what: str, faults: list[str]) -> None:
    if not faults:
        return
    lines = [f"Cannot score: {len(faults)} fault(s) in the {what} (rows are counted from 0):"]
    lines += faults[:_MOST_FAULTS_SHOWN]
    if len(faults) > _MOST_FAULTS_SHOWN:
        lines.append(f"… and {len(faults) - _MOST_FAULTS_SHOWN} more")
    raise DataError("\n  ".join(lines), faults)
