"""Checks the list 'annotations' of a COCO JSON: each by itself, and all together."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from tf_frozen.data.checks.boxes import check_box
from tf_frozen.data.checks.conventions import check_convention
from tf_frozen.data.checks.rows import is_id, wrong_field
from tf_frozen.data.checks.segmentations import check_segmentation
from tf_frozen.data.faults import Fault, Problem, excerpt


class Place(NamedTuple):
    """The image of boxes: its file, and its size in pixels, None if unknown."""

    file: str
    height: float | None
    width: float | None


def check_annotations(
    rows: Sequence[Any],
    file: str,
    places: Mapping[Any, Place],
    categories: Mapping[Any, str],
    masks: bool = False,
    clip_boxes: bool = False,
) -> Iterator[Fault]:
    """Yields all faults and warnings; `file` is the JSON; `places` and `categories` (names) have the known ids as keys.

    With `masks` an annotation needs a usable segmentation; with `clip_boxes` a box may reach beyond its image.
    """
    objects = [row for row in rows if isinstance(row, Mapping)]
    together = list(_check_together(objects, file, places))
    convention_known = not any(fault.kind in ("normalized_boxes", "other_box_convention") for fault in together)
    image_names = {os.path.basename(place.file): number for number, place in places.items()}
    category_names = {name: number for number, name in categories.items()}
    seen = set()
    for index, row in enumerate(rows):
        if not isinstance(row, Mapping):
            yield Fault("malformed_annotation", file, message=f"annotations[{index}] is {excerpt(row)}")
            continue
        image_id, number = row.get("image_id"), row.get("id")
        place = _place(row, places)
        problems = [
            _check_fields(row, index),
            _check_reference("image", row, places, image_names),
            _check_reference("category", row, categories, category_names),
            *_check_geometry(row, place, masks, clip_boxes, convention_known),
        ]
        if is_id(number) and number in seen:
            problems.append(Problem("duplicate_annotation_id", "another annotation has the same id"))
        if is_id(number):
            seen.add(number)
        for problem in filter(None, problems):
            yield Fault(problem.kind, place.file or file, image_id, number, row.get("bbox"), problem.message)
    yield from together
    yield from _check_twins(objects, file, places)


def _place(row: Mapping, places: Mapping[Any, Place]) -> Place:
    """Returns where the row's box lies; nothing is known of an image that is not listed."""
    image_id = row.get("image_id")
    return places[image_id] if is_id(image_id) and image_id in places else Place("", None, None)


def _check_geometry(
    row: Mapping, place: Place, masks: bool, clip_boxes: bool, convention_known: bool
) -> Iterator[Problem | None]:
    """Yields what is wrong with box and segmentation; of boxes of another convention only what is not four numbers."""
    box_problem = check_box(row.get("bbox"), place.height, place.width, clip_boxes)
    if convention_known or (box_problem and box_problem.kind in ("malformed_box", "non_finite_box")):
        yield box_problem
    if masks and convention_known and (not box_problem or box_problem.kind == "clipped_box"):
        yield check_segmentation(row.get("segmentation"), row["bbox"], place.height, place.width)


def _check_fields(row: Mapping, index: int) -> Problem | None:
    """Returns what is wrong with the fields that say nothing of box, image or category."""
    absent = [key for key in ("image_id", "category_id") if key not in row]
    absent += [] if is_id(row.get("id")) else ["id"]
    wrong = f"has no usable {', '.join(map(repr, absent))}" if absent else wrong_field(row)
    return Problem("malformed_annotation", f"annotations[{index}] {wrong}") if wrong else None


def _check_reference(noun: str, row: Mapping, known: Mapping, names: Mapping[str, Any]) -> Problem | None:
    """Returns a problem if the row's image or category is not known; a missing one is a malformed row.

    `names` has the known ids by the names of what they stand for.
    """
    key = f"{noun}_id"
    if key not in row or (is_id(row[key]) and row[key] in known):
        return None
    return Problem(f"unknown_{key}", f"no {noun} has the id {excerpt(row[key])}{_other_type(row[key], known, names)}")


def _other_type(value: Any, known: Mapping, names: Mapping[str, Any]) -> str:
    """Returns a hint if the id is there as another type, or if it is a name instead of an id."""
    if isinstance(value, str) and len(value) < 20 and value.isdecimal() and int(value) in known:
        return f", a str; but one has the id {int(value)}, an int"
    if isinstance(value, int) and not isinstance(value, bool) and is_id(value) and str(value) in known:
        return f", an int; but one has the id '{value}', a str"
    if isinstance(value, float) and value.is_integer() and int(value) in known:
        return f", a float; but one has the id {int(value)}, an int"
    if isinstance(value, str) and os.path.basename(value) in names:
        return f"; that is the name of the one with the id {names[os.path.basename(value)]!r}"
    return ""


def _check_together(rows: Sequence[Mapping], file: str, places: Mapping[Any, Place]) -> Iterator[Fault]:
    """Yields what is wrong with the annotations as a whole: no boxes, or boxes of another convention."""
    if all(row.get("iscrowd") == 1 for row in rows):
        what = (
            f"all {len(rows)} annotations are crowds (iscrowd is 1, which some exporters write for every mask)"
            if rows
            else "there is no annotation"
        )
        yield Fault("no_boxes", file, message=what)
    boxes = [row.get("bbox") for row in rows]
    problem = check_convention(boxes, [(place.height, place.width) for place in (_place(row, places) for row in rows)])
    if problem:
        yield Fault(problem.kind, file, message=problem.message)


def _check_twins(rows: Sequence[Mapping], file: str, places: Mapping[Any, Place]) -> Iterator[Fault]:
    """Yields a warning for each annotation whose image, category and box another one has."""
    first = {}
    for row in rows:
        image_id, category_id, box = row.get("image_id"), row.get("category_id"), row.get("bbox")
        if check_box(box, None, None) or not is_id(image_id) or not is_id(category_id):
            continue
        key = (image_id, category_id, *box)
        if key in first:
            message = f"annotation {first[key]} has the same image, category and box"
            yield Fault("duplicate_annotation", _place(row, places).file or file, image_id, row.get("id"), box, message)
        first.setdefault(key, row.get("id"))
