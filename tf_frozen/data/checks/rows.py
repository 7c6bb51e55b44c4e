"""Checks the rows of the lists 'categories' and 'images' of a COCO JSON, without opening an image."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tf_frozen.data.checks.boxes import is_finite, is_number
from tf_frozen.data.faults import Fault, excerpt

_SURROGATES = re.compile("[\ud800-\udfff]")


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
    yield from _check_names(rows, file)


def _check_names(rows: Sequence[Any], file: str) -> Iterator[Fault]:
    """Yields a fault for two categories of one name, a warning for names that differ in case or spaces alone."""
    first: dict[str, Mapping] = {}
    for row in rows:
        if not isinstance(row, Mapping) or not _is_name(row.get("name")):
            continue
        name = str(row["name"])
        other = first.setdefault(" ".join(unicodedata.normalize("NFKC", name).casefold().split()), row)
        if other is not row:
            same = str(other["name"]) == name
            names = f"the name {name!r}" if same else f"the names {str(other['name'])!r} and {name!r}"
            message = f"the categories {other.get('id')} and {row.get('id')} have {names}"
            yield Fault("duplicate_category_name" if same else "similar_category_names", file, message=message)


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


def check_files(rows: Sequence[Any], files: Sequence[str]) -> Iterator[Fault]:
    """Yields a fault for every image file that several rows of 'images' list; `files` are their paths, '' for none."""
    ids: dict[str, list] = {}
    for row, path in zip(rows, files, strict=True):
        if path:
            ids.setdefault(os.path.normpath(path), []).append(row.get("id"))
    for path, listed in ids.items():
        if len(listed) > 1:
            message = f"the file is listed under {len(listed)} image ids: {excerpt(listed)}"
            yield Fault("duplicate_image_file", path, message=message)


def wrong_field(row: Mapping) -> str | None:
    """Returns what is wrong with the `iscrowd` or the `area` of an annotation; it may have neither."""
    area, crowd = row.get("area"), row.get("iscrowd")
    if crowd not in (None, 0, 1):
        return f"has iscrowd {excerpt(crowd)}, which is neither 0 nor 1"
    if area is not None and not (is_number(area) and is_finite(area) and area >= 0):
        return f"has area {excerpt(area)}, which is not a number from 0 on"
    return None


def is_text(value: Any) -> bool:
    """Tells whether a value is a str that can be written as UTF-8; JSON can hold half of a surrogate pair."""
    return isinstance(value, str) and not _SURROGATES.search(value)


def is_file_name(value: Any) -> bool:
    """Tells whether a value can name a file."""
    return is_text(value) and value != "" and "\0" not in value


def is_id(value: Any) -> bool:
    """Tells whether a value can be the id of an image or an annotation: an int of 64 bits or a str."""
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        return -(2**63) <= value < 2**63
    return is_text(value)


def is_category_id(value: Any) -> bool:
    """Tells whether a value can be the id of a category; detections carry it as int32."""
    return isinstance(value, int) and not isinstance(value, bool) and -(2**31) <= value < 2**31


def is_side(value: Any) -> bool:
    """Tells whether a value can be a width or height: an integer above 0, or None where omitted."""
    return value is None or (is_number(value) and is_finite(value) and value >= 1 and value == int(value))


def _is_name(value: Any) -> bool:
    return is_id(value) and str(value).strip() != ""


def _wrong_image(row: Any) -> str:
    if not isinstance(row, Mapping):
        return "is not an object"
    if not is_id(row.get("id")):
        return "has no usable 'id'"
    if not is_file_name(row.get("file_name")):
        return "has no usable 'file_name'"
    sides_fit = is_side(row.get("width")) and is_side(row.get("height"))
    return "" if sides_fit else "has no usable 'width' and 'height'"
