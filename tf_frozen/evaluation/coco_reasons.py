"""Explains why COCO scores may be zero or missing although ground truth and results are well-formed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tf_frozen.data.checks.conventions import check_convention, check_matches
from tf_frozen.data.faults import Fault, Problem
from tf_frozen.errors import DataError

_FEW = 0.75  # of the images that have objects


def check_conventions(ground_truth: Mapping[str, Any], results: Sequence[Mapping]) -> list[str]:
    """Returns what the boxes of ground truth and results may be instead of [x, y, width, height] in pixels.

    Results that fit into their images are compared with the objects, which they may match in another convention. Both
    must be scoreable. Raises DataError where it is certain that one of them is of another convention; where both
    are fractions, which gives the same AP, that is one of the texts returned.
    """
    sizes = {image["id"]: (image.get("height"), image.get("width")) for image in ground_truth["images"]}
    found = {
        "ground truth": _convention(ground_truth["annotations"], sizes),
        "results": _convention(results, sizes),
    }
    if not found["ground truth"] and not _is_certain(found["results"]):
        matched = check_matches(_found_and_true(ground_truth["annotations"], results))
        found["results"] = matched or found["results"]
    problems = {name: problem for name, problem in found.items() if problem}
    if len(problems) == 2 and all(problem.kind == "normalized_boxes" for problem in problems.values()):
        return ["The boxes of both files look like fractions of the image; APs, APm and APl go by areas in pixels."]
    texts = {name: _text(name, problem) for name, problem in problems.items()}
    certain = [texts[name] for name, problem in problems.items() if _is_certain(problem)]
    if certain:
        raise DataError("\n".join(["Cannot score:", *certain]), certain)
    return list(texts.values())


def reasons(ground_truth: Mapping[str, Any], results: Sequence[Mapping]) -> list[str]:
    """Returns what keeps scores low or leaves them out, one sentence each; both arguments must be scoreable."""
    objects = [row for row in ground_truth["annotations"] if not row.get("iscrowd")]
    if not objects:
        return ["The ground truth has no annotation that is not a crowd: there is nothing to find, and no score."]
    if not results:
        return ["There are no results: every object counts as missed."]
    images = {row["image_id"] for row in objects}
    scored = images & {row["image_id"] for row in results}
    classes = {row["category_id"] for row in objects}
    texts = []
    if len(scored) < _FEW * len(images):
        texts.append(
            f"There are results for {len(scored)} of the {len(images)} images that have objects; all objects of the "
            "others count as missed."
        )
    if not classes & {row["category_id"] for row in results}:
        texts.append("No result is of a class that has objects: compare the category_id of results and annotations.")
    if len(results) > 1 and len({row["score"] for row in results}) == 1:
        texts.append(f"All results have the score {results[0]['score']:g}: AP needs scores that rank them.")
    return texts


def _convention(rows: Sequence[Mapping], sizes: Mapping[Any, tuple]) -> Problem | None:
    known = [row for row in rows if row.get("bbox") is not None]
    return check_convention([row["bbox"] for row in known], [_usable_size(sizes[row["image_id"]]) for row in known])


def _is_certain(problem: Problem | None) -> bool:
    return problem is not None and not Fault(problem.kind, "").is_warning


def _found_and_true(annotations: Sequence[Mapping], results: Sequence[Mapping]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Returns the boxes found, most confident first, and those of objects of each image that has objects."""
    images: dict[Any, tuple[list, list]] = {}
    for row in annotations:
        if row.get("bbox") and not row.get("iscrowd"):
            images.setdefault(row["image_id"], ([], []))[1].append(row["bbox"])
    for row in sorted(results, key=lambda row: -row["score"]):
        if row.get("bbox") and row["image_id"] in images:
            images[row["image_id"]][0].append(row["bbox"])
    return [tuple(np.reshape(np.float64(boxes), [-1, 4]) for boxes in pair) for pair in images.values()]


def _usable_size(size: tuple) -> tuple[float | None, float | None]:
    """Returns (height, width), or Nones where they are missing or invalid: scoring boxes does not need them."""
    usable = all(isinstance(side, (int, float)) and 0 < side < 1e9 for side in size)
    return size if usable else (None, None)


def _text(name: str, problem: Problem) -> str:
    advice = Fault(problem.kind, "").advice
    return f"The {name}: {problem.message}. {advice}"
