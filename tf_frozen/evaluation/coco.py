"""COCO scores of boxes, computed by pycocotools, and the rows of a COCO results file."""

from __future__ import annotations

import contextlib
import io
import math
import numbers
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from tf_frozen.errors import DataError

METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")

_MOST_FAULTS_SHOWN = 20
_MOST_CHARACTERS_SHOWN = 120
_OF_ALL_SIZES = 0
_BEST_100 = 2

Numbers = dict[Any, int]


def score(ground_truth: dict, results: Sequence[dict]) -> dict[str, float | None]:
    """Return the twelve COCO figures, named as in METRICS; see `evaluate`."""
    return evaluate(ground_truth, results)[0]


def per_class(ground_truth: dict, results: Sequence[dict]) -> list[dict]:
    """Return one {category, AP, AP50, instances} for each category; see `evaluate`."""
    return evaluate(ground_truth, results)[1]


def evaluate(ground_truth: dict, results: Sequence[dict]) -> tuple[dict[str, float | None], list[dict]]:
    """Return the figures of `score` and the rows of `per_class` from a single evaluation.

    Args:
      ground_truth: a COCO JSON (images, annotations, categories) whose ids may be numbers or texts or both.
        A missing `area` is that of the box, a missing `iscrowd` is 0. It is not changed, nor are the results.
      results: rows {image_id, category_id, bbox, score}; bbox = [x, y, width, height], original pixels.

    Returns:
      Fractions from 0 to 1, or None where the ground truth has no object (of that size, of that category).
      `instances` counts the objects of a category that are not crowds.

    Only the 100 best boxes of each image and category count. That is COCO's own limit: figures made with
    another one cannot be compared with published ones, and pycocotools then gives -1 for AP.

    Raises:
      DataError: the ground truth or a row is malformed or names an unknown image or category; all are listed.
    """
    images, categories = _number_ground_truth(ground_truth)
    annotations = _plain_annotations(ground_truth["annotations"], images, categories)
    boxes = _plain_results(results, images, categories)
    evaluation = _run_pycocotools(annotations, boxes, images, categories)
    metrics = {name: _or_none(value) for name, value in zip(METRICS, evaluation.stats, strict=True)}
    names = {entry["id"]: str(entry.get("name", entry["id"])) for entry in ground_truth["categories"]}
    instances = Counter(annotation["category_id"] for annotation in annotations if not annotation["iscrowd"])
    return metrics, [
        {"category": names[category], **_class_precision(evaluation, number), "instances": instances[number]}
        for category, number in categories.items()
    ]


def to_results(
    image_id: int | str, boxes: np.ndarray, scores: Sequence[float], category_ids: Sequence[int | str]
) -> list[dict]:
    """Return one image's boxes [n, 4] = [y1, x1, y2, x2], original pixels, as results rows ready for JSON."""
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4).tolist()
    return [
        {
            "image_id": _without_numpy(image_id),
            "category_id": _without_numpy(category_id),
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "score": float(value),
        }
        for (y1, x1, y2, x2), value, category_id in zip(boxes, scores, category_ids, strict=True)
    ]


def _without_numpy(value: Any) -> int | str:
    return value.item() if isinstance(value, np.generic) else value


def _or_none(value: float) -> float | None:
    return None if value < 0 else float(value)


def _class_precision(evaluation: COCOeval, number: int) -> dict[str, float | None]:
    precision = evaluation.eval["precision"][:, :, number - 1, _OF_ALL_SIZES, _BEST_100]
    return {"AP": _or_none(precision.mean()), "AP50": _or_none(precision[0].mean())}


def _run_pycocotools(annotations: list[dict], boxes: list[dict], images: Numbers, categories: Numbers) -> COCOeval:
    with contextlib.redirect_stdout(io.StringIO()):
        truth, found = (_index(rows, images, categories) for rows in (annotations, boxes))
        evaluation = COCOeval(truth, found, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def _index(annotations: list[dict], images: Numbers, categories: Numbers) -> COCO:
    coco = COCO()
    coco.dataset = {
        "images": [{"id": number} for number in images.values()],
        "categories": [{"id": number} for number in categories.values()],
        "annotations": annotations,
    }
    coco.createIndex()
    return coco


def _number_ground_truth(ground_truth: dict) -> tuple[Numbers, Numbers]:
    keys = ("images", "annotations", "categories")
    if not isinstance(ground_truth, dict) or not all(isinstance(ground_truth.get(key), list) for key in keys):
        raise DataError(
            f"Cannot score: the ground truth is {_short(ground_truth)}; "
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
        if not isinstance(entry, dict) or not _is_id(entry.get("id")):
            yield f"{key}[{row}] is {_short(entry)}, which has no id that is a number or a text"
        elif entry["id"] in seen:
            yield f"{key}[{row}] has the id {entry['id']!r} of an earlier one"
        else:
            seen.add(entry["id"])


def _plain_annotations(annotations: list, images: Numbers, categories: Numbers) -> list[dict]:
    faults = ((row, _annotation_fault(entry, images, categories)) for row, entry in enumerate(annotations))
    _report("ground truth", [f"annotations[{row}] {fault}" for row, fault in faults if fault])
    return [
        _plain(number, entry, images, categories)
        | {"area": float(_area(entry)), "iscrowd": int(entry.get("iscrowd") or 0)}
        for number, entry in enumerate(annotations, start=1)
    ]


def _plain_results(results: Sequence[dict], images: Numbers, categories: Numbers) -> list[dict]:
    if not isinstance(results, (list, tuple)):
        raise DataError(
            f"Cannot score: the results are {_short(results)}; "
            "they must be a list of rows {image_id, category_id, bbox, score}."
        )
    faults = ((row, _result_fault(entry, images, categories)) for row, entry in enumerate(results))
    _report("results", [f"row {row} {fault}" for row, fault in faults if fault])
    return [
        _plain(number, entry, images, categories)
        | {"area": _box_area(entry), "iscrowd": 0, "score": float(entry["score"])}
        for number, entry in enumerate(results, start=1)
    ]


def _plain(number: int, entry: dict, images: Numbers, categories: Numbers) -> dict:
    """Copy what a score needs, ids from 1, because pycocotools takes an annotation id of 0 for no match."""
    return {
        "id": number,
        "image_id": images[entry["image_id"]],
        "category_id": categories[entry["category_id"]],
        "bbox": [float(value) for value in entry["bbox"]],
    }


def _area(annotation: dict) -> float:
    return _box_area(annotation) if annotation.get("area") is None else annotation["area"]


def _box_area(entry: dict) -> float:
    return float(entry["bbox"][2]) * float(entry["bbox"][3])


def _annotation_fault(entry: Any, images: Numbers, categories: Numbers) -> str | None:
    fault = _box_fault(entry, ("image_id", "category_id", "bbox"), images, categories)
    if fault:
        return fault
    if entry.get("area") is not None and not _is_number(entry["area"]):
        return f"(id {entry.get('id')!r}) has area {_short(entry['area'])}, which is not a finite number"
    if entry.get("iscrowd") not in (None, 0, 1):
        return f"(id {entry.get('id')!r}) has iscrowd {_short(entry['iscrowd'])}, which is neither 0 nor 1"
    return None


def _result_fault(entry: Any, images: Numbers, categories: Numbers) -> str | None:
    fault = _box_fault(entry, ("image_id", "category_id", "bbox", "score"), images, categories)
    if fault or _is_number(entry["score"]):
        return fault
    return f"has score {_short(entry['score'])}, which is not a finite number"


def _box_fault(entry: Any, keys: tuple[str, ...], images: Numbers, categories: Numbers) -> str | None:
    if not isinstance(entry, dict):
        return f"is {_short(entry)}; it must be an object with {', '.join(keys)}"
    missing = [key for key in keys if key not in entry]
    if missing:
        return f"has no {' and no '.join(missing)}: {_short(entry)}"
    for key, known in (("image_id", images), ("category_id", categories)):
        if not _is_id(entry[key]) or entry[key] not in known:
            alike = f"ids there look like {next(iter(known))!r}" if known else "which has none"
            return f"has {key} {_short(entry[key])}, which the ground truth does not have ({alike})"
    box = entry["bbox"]
    if not isinstance(box, (list, tuple, np.ndarray)) or len(box) != 4 or not all(map(_is_number, box)):
        return f"has bbox {_short(box)}, which is not four finite numbers [x, y, width, height]"
    return f"has bbox {_short(box)}, whose width or height is negative" if min(box[2:]) < 0 else None


def _is_id(value: Any) -> bool:
    return isinstance(value, str) or _is_number(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _MOST_CHARACTERS_SHOWN else text[:_MOST_CHARACTERS_SHOWN] + "…"


def _report(what: str, faults: list[str]) -> None:
    if not faults:
        return
    lines = [f"Cannot score: {len(faults)} fault(s) in the {what} (rows are counted from 0):"]
    lines += faults[:_MOST_FAULTS_SHOWN]
    if len(faults) > _MOST_FAULTS_SHOWN:
        lines.append(f"… and {len(faults) - _MOST_FAULTS_SHOWN} more")
    raise DataError("\n  ".join(lines), faults)
