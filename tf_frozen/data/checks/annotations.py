"""Checks the list 'annotations' of a COCO JSON: each by itself, and all together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from tf_frozen.data.checks.boxes import check_box, is_finite, is_normalised, is_number
from tf_frozen.data.checks.rows import excerpt, is_id
from tf_frozen.data.faults import Fault, Problem
from tf_frozen.data.segmentations import check_segmentation


class Place(NamedTuple):
    """Where the boxes of an image lie: its file, and its size in pixels, None where nothing tells it."""

    file: str
    height: float | None
    width: float | None


def check_annotations(
    rows: Sequence[Any], file: str, places: Mapping[Any, Place], categories: Mapping[Any, Any], masks: bool = False
) -> Iterator[Fault]:
    """Yields all faults; `file` is the JSON; `places` and `categories` have the known ids as keys.

    With `masks` an annotation needs a usable segmentation.
    """
    seen = set()
    for index, row in enumerate(rows):
        if not isinstance(row, Mapping):
            yield Fault("malformed_annotation", file, message=f"annotations[{index}] is {excerpt(row)}")
            continue
        image_id, number = row.get("image_id"), row.get("id")
        place = places[image_id] if is_id(image_id) and image_id in places else None
        height, width = place and place.height, place and place.width
        box_problem = check_box(row.get("bbox"), height, width)
        problems = [
            _check_fields(row, index),
            _check_reference("image", row, places),
            _check_reference("category", row, categories),
            box_problem,
        ]
        if masks and not box_problem:
            problems.append(check_segmentation(row.get("segmentation"), row["bbox"], height, width))
        if is_id(number) and number in seen:
            problems.append(Problem("duplicate_annotation_id", "another annotation has the same id"))
        if is_id(number):
            seen.add(number)
        for problem in filter(None, problems):
            where = place.file if place else file
            yield Fault(problem.kind, where, image_id, number, row.get("bbox"), problem.message)
    yield from _check_together([row for row in rows if isinstance(row, Mapping)], file)


def _check_fields(row: Mapping, index: int) -> Problem | None:
    """Returns what is wrong with the fields that say nothing of box, image or category."""
    absent = [key for key in ("image_id", "category_id") if key not in row]
    absent += [] if is_id(row.get("id")) else ["id"]
    area, crowd = row.get("area"), row.get("iscrowd")
    if absent:
        wrong = f"has no usable {', '.join(map(repr, absent))}"
    elif crowd not in (None, 0, 1):
        wrong = f"has the iscrowd {excerpt(crowd)}"
    elif area is not None and not (is_number(area) and is_finite(area) and area >= 0):
        wrong = f"has the area {excerpt(area)}"
    else:
        return None
    return Problem("malformed_annotation", f"annotations[{index}] {wrong}")


def _check_reference(noun: str, row: Mapping, known: Mapping) -> Problem | None:
    """Returns a problem if the row's image or category is not known; one that is left out is no reference."""
    key = f"{noun}_id"
    if key not in row or (is_id(row[key]) and row[key] in known):
        return None
    return Problem(f"unknown_{key}", f"no {noun} has the id {row[key]!r}{_other_type(row[key], known)}")


def _other_type(value: Any, known: Mapping) -> str:
    """Returns a hint if the id is there as a text where a number was asked for, or the other way round."""
    if isinstance(value, str) and len(value) < 20 and value.isdecimal() and int(value) in known:
        return f", a text; but one has the id {int(value)}, a number"
    if isinstance(value, int) and str(value) in known:
        return f", a number; but one has the id '{value}', a text"
    return ""


def _check_together(rows: Sequence[Mapping], file: str) -> Iterator[Fault]:
    """Yields what is wrong with the annotations as a whole: no boxes, or none in pixels."""
    if all(row.get("iscrowd") == 1 for row in rows):
        what = f"all {len(rows)} annotations are crowds (iscrowd is 1)" if rows else "there is no annotation"
        yield Fault("no_boxes", file, message=what)
    boxes = [row.get("bbox") for row in rows]
    if boxes and all(map(is_normalised, boxes)):
        message = f"all {len(boxes)} boxes lie between 0 and 1, as fractions of the image do"
        yield Fault("normalised_boxes", file, box=boxes[0], message=message)
