"""Checks the rows of the lists 'categories' and 'images' of a COCO JSON, without opening an image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tf_frozen.data.checks.boxes import is_finite, is_number
from tf_frozen.data.faults import Fault


def check_categories(rows: Sequence[Any], file: str) -> Iterator[Fault]:
    """Yields the faults of the list 'categories'; `file` is the JSON."""
    if not rows:
        yield Fault("no_categories", file, message="the list 'categories' is empty")
    seen = set()
    for index, row in enumerate(rows):
        if not isinstance(row, Mapping) or not is_category_id(row.get("id")) or not _is_name(row.get("name")):
            yield Fault("malformed_category", file, message=f"categories[{index}] is {excerpt(row)}")
        elif row["id"] in seen:
            yield Fault("duplicate_category_id", file, message=f"two categories have the id {row['id']}")
        else:
            seen.add(row["id"])


def check_images(rows: Sequence[Any], file: str) -> Iterator[Fault]:
    """Yields the faults of the list 'images'; `file` is the JSON."""
    if not rows:
        yield Fault("no_images", file, message="the list 'images' is empty")
    first_names = {}
    for index, row in enumerate(rows):
        wrong = _wrong_image(row)
        if wrong:
            image_id = row.get("id") if isinstance(row, Mapping) else None
            message = f"images[{index}] {wrong}: {excerpt(row)}"
            yield Fault("malformed_image", file, image_id, message=message)
        if not isinstance(row, Mapping) or not is_id(row.get("id")):
            continue
        if row["id"] in first_names:
            names = f"{first_names[row['id']]!r} and {row.get('file_name')!r}"
            message = f"{names} have the same id {row['id']!r}"
            yield Fault("duplicate_image_id", file, row["id"], message=message)
        first_names.setdefault(row["id"], row.get("file_name"))


def is_id(value: Any) -> bool:
    """Tells whether a value can be the id of an image or an annotation: a whole number or a text."""
    return isinstance(value, (int, str)) and not isinstance(value, bool)


def is_category_id(value: Any) -> bool:
    """Tells whether a value can be the id of a category; detections carry it as int32."""
    return isinstance(value, int) and not isinstance(value, bool) and -(2**31) <= value < 2**31


def is_side(value: Any) -> bool:
    """Tells whether a value can be a width or height: a whole number above 0, or None where left out."""
    return value is None or (is_number(value) and is_finite(value) and value >= 1 and value == int(value))


def excerpt(value: Any) -> str:
    """Returns the value as text, cut to 80 characters."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _is_name(value: Any) -> bool:
    return is_id(value) and str(value).strip() != ""


def _wrong_image(row: Any) -> str:
    if not isinstance(row, Mapping):
        return "is no object"
    if not is_id(row.get("id")):
        return "has no usable 'id'"
    if not isinstance(row.get("file_name"), str) or not row["file_name"]:
        return "has no usable 'file_name'"
    sides_fit = is_side(row.get("width")) and is_side(row.get("height"))
    return "" if sides_fit else "has no usable 'width' and 'height'"
