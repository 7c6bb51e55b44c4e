"""Computes COCO scores of boxes and masks by pycocotools, and the rows of a COCO results file."""

from __future__ import annotations

import contextlib
import io
import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from tf_frozen.evaluation import coco_rows

METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
MASK_METRICS = tuple(f"mask_{name}" for name in METRICS)

_OF_ALL_SIZES = 0
_BEST_100 = 2
_ALL = 3
_COUNTED = (1, 10, 100)  # detections of an image and category


def score(ground_truth: dict, results: Sequence[dict], masks: bool = False) -> dict[str, float | None]:
    """Return COCO's figures, named as in METRICS, with `masks` those of MASK_METRICS too, and more; see `evaluate`."""
    return evaluate(ground_truth, results, masks)[0]


def per_class(ground_truth: dict, results: Sequence[dict], masks: bool = False) -> list[dict]:
    """Return one {category, AP, AP50, instances} for each category, with `masks` mask_AP and mask_AP50 too."""
    return evaluate(ground_truth, results, masks)[1]


def evaluate(
    ground_truth: dict, results: Sequence[dict], masks: bool = False, detections: int | None = None
) -> tuple[dict[str, float | None], list[dict]]:
    """Return the figures of `score` and the rows of `per_class` from a single evaluation.

    Args:
      ground_truth: a COCO JSON (images, annotations, categories) whose ids may be int or str or both.
        A missing `area` is that of the box, or of the mask where masks are scored, a missing `iscrowd` is 0. It is
        not changed, nor are the results.
      results: rows {image_id, category_id, bbox, score}; bbox = [x, y, width, height], original pixels.
      masks: score masks as well; annotations and rows then have a `segmentation`, polygons or RLE, and images their
        height and width. A mask's size, by which it is small or large, is its own and not its box's. The box of what
        has no `bbox` is its mask's.
      detections: how many an image may have in the results.

    Returns:
      Fractions from 0 to 1, or None where the ground truth has no object (of that size, of that category).
      `instances` counts the objects of a category that are not crowds.

    Only the 100 best boxes of each image and category count. That is COCO's own limit, and figures made with another
    one cannot be compared with published ones. Where there may be more, by `detections` or as the results show, AP and
    AR of all of them stand beside these: 'AP@300' and 'AR@300' for up to 300.

    Raises:
      DataError: the ground truth or a row is malformed or names an unknown image or category; all are listed.
    """
    images, categories = coco_rows.number_ground_truth(ground_truth)
    sizes = coco_rows.image_sizes(ground_truth) if masks else {}
    annotations = coco_rows.plain_annotations(ground_truth["annotations"], images, categories, sizes)
    found = coco_rows.plain_results(results, images, categories, sizes)
    sets = {
        "images": [_image(number, *sizes.get(image, ())) for image, number in images.items()],
        "categories": [{"id": number} for number in categories.values()],
    }
    counted = _COUNTED + _beyond(found, detections or 0)
    runs = {"": _run_pycocotools("bbox", sets, annotations, found, counted)}
    if masks:
        runs["mask_"] = _run_pycocotools("segm", sets, annotations, coco_rows.of_masks(found), counted)
    names = {entry["id"]: str(entry.get("name", entry["id"])) for entry in ground_truth["categories"]}
    instances = Counter(annotation["category_id"] for annotation in annotations if not annotation["iscrowd"])
    return _figures(runs), [
        {"category": names[category], "instances": instances[number], **_class_precisions(runs, number)}
        for category, number in categories.items()
    ]


def _or_none(value: float) -> float | None:
    return None if value < 0 else float(value)


def _beyond(found: Sequence[dict], detections: int) -> tuple[int, ...]:
    """The number of detections of an image and category that all of them are within, if it is above COCO's 100.

    It is `detections`, or where there are more the next multiple of 100: figures at it are those at the exact number.
    """
    per_group = Counter((row["image_id"], row["category_id"]) for row in found)
    most = max(per_group.values(), default=0)
    number = detections if most <= detections else 100 * math.ceil(most / 100)
    return (number,) if number > _COUNTED[-1] else ()


def _figures(runs: Mapping[str, COCOeval]) -> dict[str, float | None]:
    """The twelve figures of each evaluation under its prefix, and those of more detections than 100."""
    figures = {}
    for prefix, run in runs.items():
        figures |= {prefix + name: _or_none(value) for name, value in zip(METRICS, run.stats, strict=True)}
        for number in run.params.maxDets[_ALL:]:
            for name, values in (("AP", run.eval["precision"]), ("AR", run.eval["recall"])):
                figures[f"{prefix}{name}@{number}"] = _mean(values[..., _OF_ALL_SIZES, _ALL])
    return figures


def _mean(values: np.ndarray) -> float | None:
    """The mean without the -1 of categories that have no object, as in COCOeval.summarize; None without any."""
    values = values[values > -1]
    return float(np.mean(values)) if values.size else None


def _class_precisions(runs: Mapping[str, COCOeval], number: int) -> dict[str, float | None]:
    found = {}
    for prefix, run in runs.items():
        precision = run.eval["precision"][:, :, number - 1, _OF_ALL_SIZES, _BEST_100]
        found |= {f"{prefix}AP": _or_none(precision.mean()), f"{prefix}AP50": _or_none(precision[0].mean())}
    return found


def _image(number: int, height: int | None = None, width: int | None = None) -> dict:
    return {"id": number, "height": height, "width": width}


def _run_pycocotools(
    kind: str, sets: dict[str, list], annotations: list[dict], found: list[dict], counted: Sequence[int]
) -> COCOeval:
    with contextlib.redirect_stdout(io.StringIO()):
        truth, results = (_index(sets, rows) for rows in (annotations, found))
        evaluation = COCOeval(truth, results, kind)
        evaluation.params.maxDets = list(counted)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def _index(sets: dict[str, list], annotations: list[dict]) -> COCO:
    coco = COCO()
    coco.dataset = {**sets, "annotations": annotations}
    coco.createIndex()
    return coco
