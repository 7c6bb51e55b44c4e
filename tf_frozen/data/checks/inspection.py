"""Checks a COCO data set whole, JSON and images, and collects every fault in one list."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from tf_frozen.data import paths
from tf_frozen.data.checks.annotations import Place, check_annotations
from tf_frozen.data.checks.images import Header, inspect_files
from tf_frozen.data.checks.rows import (
    check_categories,
    check_files,
    check_images,
    is_category_id,
    is_file_name,
    is_id,
    is_side,
)
from tf_frozen.data.faults import Fault, Problem
from tf_frozen.data.sources import coco_file
from tf_frozen.data.sources.image_paths import Images, locate
from tf_frozen.errors import ConfigError, DataError


class Inspection(NamedTuple):
    """The parsed JSON, the file and header of each row of its 'images' (where usable), all faults and warnings.

    `places` and `categories` have the known ids as keys: where boxes lie, and names.
    """

    document: dict[str, Any]
    files: list[str]
    headers: list[Header | None]
    faults: list[Fault]
    warnings: list[Fault]
    places: dict[int | str, Place]
    categories: dict[int, str]


def check(annotations: str, images: str, check: str = "decode", masks: bool = False) -> list[Fault]:
    """Returns every fault of a COCO JSON and its folder of images; `check` and `masks` are as in `inspect`."""
    return inspect(annotations, images, check, masks).faults


def inspect(
    annotations: str, images: str, check: str = "decode", masks: bool = False, clip_boxes: bool = False
) -> Inspection:
    """Reads and checks a data set; 'decode' decodes every image, 'header' only reads size and format.

    With `masks` every annotation needs a usable segmentation; with `clip_boxes` a box that reaches beyond its image is
    a warning. Faults are returned, not raised; ConfigError is raised if `check` is neither of the two.
    """
    if check not in ("decode", "header"):
        raise ConfigError(f"check is {check!r}; it must be 'decode' or 'header'.")
    folder_faults = _check_folder(images)
    try:
        document = coco_file.read(annotations)
    except DataError as error:
        return Inspection({}, [], [], [*error.faults, *folder_faults], [], {}, {})
    file, rows = paths.resolve(annotations), document["images"]
    found = [*check_categories(document["categories"], file)]
    found += [*check_images(rows, file), *folder_faults]
    headers: list[Header | None] = [None] * len(rows)
    files = [""] * len(rows)
    if not folder_faults:
        located = locate(paths.resolve(images), [_file_name(row) for row in rows])
        files = located.files
        headers, file_faults = _check_files(rows, located, check == "decode")
        found += [*located.warnings, *check_files(rows, files), *file_faults]
    places = _places(rows, files, headers, file)
    categories = _names(document["categories"])
    found += check_annotations(document["annotations"], file, places, categories, masks, clip_boxes)
    warnings = [fault for fault in found if fault.is_warning]
    faults = [fault for fault in found if not fault.is_warning]
    return Inspection(document, files, headers, faults, warnings, places, categories)


def _check_folder(images: str) -> list[Fault]:
    try:
        folder = paths.resolve(images)
    except DataError as error:
        return error.faults
    if os.path.isdir(folder):
        return []
    what = "is a file, not a folder" if os.path.exists(folder) else "does not exist"
    return [Fault("missing_images_folder", folder, message=what)]


def _file_name(row: Any) -> str:
    """Returns the file name of an image, '' if its row has none."""
    name = row.get("file_name") if isinstance(row, Mapping) else None
    return name if is_file_name(name) else ""


def _check_files(rows: list[Any], images: Images, decode: bool) -> tuple[list[Header | None], list[Fault]]:
    """Returns the header of each image, None where it cannot be read, and the faults of the files."""
    headers: list[Header | None] = [None] * len(rows)
    files = images.files
    faults = []
    named = [index for index, file in enumerate(files) if file]
    for index, found in zip(named, inspect_files([files[index] for index in named], decode), strict=True):
        problem = found
        if isinstance(found, Header):
            headers[index] = found
            problem = _check_size(rows[index], found)
        if problem:
            message = f"{problem.message}{images.hints.get(index, '')}"
            faults.append(Fault(problem.kind, files[index], rows[index].get("id"), message=message))
    return headers, faults


def _check_size(row: Mapping, header: Header) -> Problem | None:
    """Returns a problem if the JSON gives another size than the image has as displayed."""
    height, width = _size(row, header)
    if (height, width) == (header.height, header.width):
        return None
    message = f"the image is {header.width} px wide and {header.height} high, not {width} and {height}"
    if header.orientation >= 5 and (width, height) == (header.height, header.width):
        message += (
            f": the JSON has its size before EXIF orientation {header.orientation} turns it. Boxes must fit"
            " the image as viewers show it, turned; if they were drawn on it unturned, remove the EXIF tag"
        )
    return Problem("size_mismatch", message)


def _places(rows: list[Any], files: list[str], headers: list[Header | None], file: str) -> dict[int | str, Place]:
    """Returns where each image's boxes lie; the JSON stands in for an image file that is not known.

    Where the two contradict each other nobody knows which of them the boxes fit.
    """
    places: dict[int | str, Place] = {}
    for row, path, header in zip(rows, files, headers, strict=True):
        if isinstance(row, Mapping) and is_id(row.get("id")):
            size = _size(row, header)
            fits = header is None or size == (header.height, header.width)
            places.setdefault(row["id"], Place(path or file, *(size if fits else (None, None))))
    return places


def _names(rows: list[Any]) -> dict[int, str]:
    rows = [row for row in rows if isinstance(row, Mapping)]
    return {row["id"]: str(row.get("name")) for row in rows if is_category_id(row.get("id"))}


def _size(row: Mapping, header: Header | None) -> tuple[Any, Any]:
    """Returns (height, width) that boxes must fit: the JSON's, to which they belong, or the file's."""
    sides = []
    for key, of_file in (("height", header and header.height), ("width", header and header.width)):
        sides.append(row[key] if row.get(key) and is_side(row[key]) else of_file)
    return sides[0], sides[1]
