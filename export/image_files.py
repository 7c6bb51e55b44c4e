"""Finds the image files of a path or pattern, and their ids in a data set."""

from __future__ import annotations

import collections
import glob
import itertools
import logging
import os
from collections.abc import Sequence
from pathlib import Path, PurePath

from tf_frozen.data.paths import resolve
from tf_frozen.data.sources import coco_file
from tf_frozen.errors import DataError

_LOG = logging.getLogger(__name__)
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif")


def find(images: Sequence[str], ignore: str | None = None) -> dict[str, str]:
    """Returns the name of each image file by its absolute path, sorted.

    A name is the path below the folder or glob that matched, or, if two files would share one, below the
    deepest folder that holds all files.

    Files of a folder that have another suffix are counted in a warning.

    Args:
      images: each an image file, a folder (its images and those of its subfolders) or a glob.
      ignore: a folder whose images do not count if there are others, as that of earlier results.

    Raises:
      DataError: a pattern that matches no image.
    """
    roots: dict[str, str] = {}
    for pattern in images:
        found = _matches(resolve(pattern))
        if not found:
            raise DataError(f"`images` {pattern}: {_why_none(pattern)}")
        kept = [path for path in found if not _is_below(path, ignore)] or found
        _warn_of_skipped(resolve(pattern), ignore)
        roots = {**dict.fromkeys(kept, _root(resolve(pattern))), **roots}
    names = {path: _below(path, roots[path]) for path in sorted(roots)}
    if len(set(names.values())) < len(names):
        common = os.path.commonpath([os.path.dirname(path) for path in names])
        names = {path: _below(path, common) for path in names}
    return names


def ids(paths: Sequence[str], annotations: str) -> dict[str, int | str]:
    """Returns each path's image id in a COCO JSON, found by as much of the path as `file_name` states.

    Raises:
      DataError: `annotations` cannot be read, does not know a path, or knows two paths as one image.
    """
    try:
        rows = coco_file.read(annotations)["images"]
        known = {PurePath(row["file_name"]).parts: row["id"] for row in rows}
    except (KeyError, TypeError) as error:
        raise DataError(f"`annotations` {annotations} has an image without file_name or id: {error!r}.") from error
    found = {path: _longest_tail(PurePath(path).parts, known) for path in paths}
    unknown = [path for path, image_id in found.items() if image_id is None]
    if unknown:
        raise DataError(
            f"`annotations` {annotations} does not name {len(unknown)} of {len(paths)} images, "
            f"first {unknown[0]}. Without `annotations` file names are the image ids."
        )
    first: dict[int | str, str] = {}
    for path, image_id in found.items():
        if first.setdefault(image_id, path) != path:
            raise DataError(
                f"`annotations` {annotations} has one image id, {image_id!r}, for {first[image_id]} and {path}: its "
                "file_name tells no folder. Predict on one folder at a time, or without `annotations`."
            )
    return found


def _warn_of_skipped(folder: str, ignore: str | None) -> None:
    tree = [os.path.abspath(os.path.join(below, name)) for below, _, files in os.walk(folder) for name in files]
    suffixes = [os.path.splitext(path)[1].lower() for path in tree if not _is_below(path, ignore)]
    skipped = collections.Counter(suffix for suffix in suffixes if suffix and suffix not in SUFFIXES)
    if skipped:
        kinds = ", ".join(f"{count} {suffix}" for suffix, count in skipped.most_common())
        _LOG.warning("Skipped in %s, as they are not %s: %s", folder, ", ".join(SUFFIXES), kinds)


def _matches(pattern: str) -> list[str]:
    if os.path.isdir(pattern):
        tree = (os.path.join(folder, name) for folder, _, files in os.walk(pattern) for name in files)
        found = [path for path in tree if os.path.splitext(path)[1].lower() in SUFFIXES]
    elif os.path.exists(pattern):
        found = [pattern]
    else:
        found = [path for path in glob.glob(pattern, recursive=True) if os.path.isfile(path)]
    return [os.path.abspath(path) for path in found]


def _root(pattern: str) -> str:
    """The folder that names start from: the pattern itself, or that of a file or of a glob's first wildcard."""
    if not os.path.exists(pattern):
        fixed = itertools.takewhile(lambda part: not glob.has_magic(part), PurePath(pattern).parts)
        return os.path.abspath(os.path.join("", *fixed))
    return os.path.abspath(pattern if os.path.isdir(pattern) else os.path.dirname(pattern))


def _below(path: str, folder: str) -> str:
    return Path(os.path.relpath(path, folder)).as_posix()


def _why_none(pattern: str) -> str:
    if os.path.isdir(resolve(pattern)):
        return f"the folder holds no image ({', '.join(SUFFIXES)})."
    if glob.has_magic(pattern):
        return f"no file matches, seen from {os.getcwd()}."
    return f"the path does not exist, seen from {os.getcwd()}."


def _is_below(path: str, folder: str | None) -> bool:
    return folder is not None and Path(os.path.abspath(os.path.expanduser(folder))) in Path(path).parents


def _longest_tail(parts: tuple[str, ...], known: dict[tuple[str, ...], int | str]) -> int | str | None:
    tails = (parts[start:] for start in range(len(parts)))
    return next((known[tail] for tail in tails if tail in known), None)
