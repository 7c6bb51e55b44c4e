"""Checks the rows of COCO results, and the ground truth that they are scored against."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tf_frozen.data.checks.boxes import check_numbers, is_finite, is_number
from tf_frozen.data.checks.rows import is_id, is_text, wrong_field
from tf_frozen.data.checks.segmentations import wrong_format
from tf_frozen.data.faults import excerpt

_MOST_PIXELS = 2**31  # of an image; pycocotools counts them in 32 bits

Sizes = Mapping[Any, tuple[int, int]]
"""Height and width of each image by its id; empty where no masks are scored."""


def entry_faults(key: str, entries: Sequence[Any]) -> Iterator[str]:
    """Yields the faults of the ground truth's list `key`, 'images' or 'categories'."""
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


def is_size(height: Any, width: Any) -> bool:
    """Tells whether masks of an image of that size can be scored."""
    return all(_is_finite_number(side) and side >= 1 for side in (height, width)) and height * width < _MOST_PIXELS


def annotation_fault(entry: Any, images: Mapping, categories: Mapping, sizes: Sizes) -> str | None:
    """Returns what is wrong with an annotation; `images` and `categories` have the known ids as keys."""
    fault = _row_fault(entry, ("image_id", "category_id"), images, categories, sizes)
    if fault:
        return fault
    number = entry.get("id")
    if number is not None and not is_id(number):
        return f"has id {excerpt(number)}, which is neither an int nor a str"
    fault = wrong_field(entry) or _mask_fault(entry, sizes)
    return fault and f"(id {excerpt(number)}) {fault}"


def result_fault(entry: Any, images: Mapping, categories: Mapping, sizes: Sizes) -> str | None:
    """Returns what is wrong with a row of results; `images` and `categories` have the known ids as keys."""
    fault = _row_fault(entry, ("image_id", "category_id", "score"), images, categories, sizes)
    if fault:
        return fault
    if not _is_finite_number(entry["score"]):
        return f"has score {excerpt(entry['score'])}, which is not a finite number"
    return _mask_fault(entry, sizes)


def has_box(entry: Mapping) -> bool:
    """Tells whether a row has a `bbox`; COCO's own results of masks have none."""
    box = entry.get("bbox")
    return box is not None and not (isinstance(box, (list, tuple)) and not box)


def _row_fault(entry: Any, keys: tuple[str, ...], images: Mapping, categories: Mapping, sizes: Sizes) -> str | None:
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
    return None if sizes and not has_box(entry) else _box_fault(entry["bbox"])


def _box_fault(box: Any) -> str | None:
    """Returns what is wrong with a box to score; it may be empty, as those that detectors fill up with are."""
    problem = check_numbers(box)
    if problem:
        return f"has bbox {excerpt(box)}, which is not [x, y, width, height]: {problem.message}"
    return f"has bbox {excerpt(box)}, whose width or height is negative" if min(box[2:]) < 0 else None


def _mask_fault(entry: Mapping, sizes: Sizes) -> str | None:
    if not sizes:
        return None
    if not entry.get("segmentation"):
        return "has no segmentation, which scoring masks needs"
    wrong = wrong_format(entry["segmentation"], *sizes[entry["image_id"]])
    return wrong and f"can't be read: {wrong}"


def _is_finite_number(value: Any) -> bool:
    return is_number(value) and is_finite(value)
