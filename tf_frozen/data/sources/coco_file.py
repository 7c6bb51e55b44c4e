"""Reads JSON files, each COCO JSON once, and explains what is wrong with them."""

from __future__ import annotations

import functools
import json
import os
from typing import Any

from tf_frozen.data import paths
from tf_frozen.data.faults import Fault, describe
from tf_frozen.errors import DataError

_LISTS = ("images", "annotations", "categories")


def read(path: str) -> dict[str, Any]:
    """Returns the parsed JSON, shared by all callers: do not change it.

    Raises DataError with one fault if there is no file, no JSON in it, or no COCO structure.
    """
    path = paths.resolve(path)
    try:
        status = os.stat(path)
    except OSError as error:
        raise _missing(path, error) from error
    return _parse(path, status.st_mtime_ns, status.st_size)


def load(path: str) -> Any:
    """Returns what any JSON file holds, in UTF-8, UTF-16 or UTF-32, with or without a byte order mark.

    Raises DataError with one fault if there is no file or no JSON in it.
    """
    path = paths.resolve(path)
    try:
        with open(path, "rb") as file:
            contents = file.read()
    except OSError as error:
        raise _missing(path, error) from error
    try:
        return json.loads(contents)
    except json.JSONDecodeError as error:
        raise _error("broken_json", path, _syntax(error)) from error
    except UnicodeDecodeError as error:
        raise _error("broken_json", path, _encoding(contents, error)) from error
    except (RecursionError, ValueError) as error:
        raise _error("broken_json", path, f"cannot be parsed: {error}") from error


@functools.lru_cache(maxsize=2)
def _parse(path: str, modified: int, size: int) -> dict[str, Any]:
    """Parses the file; its time and size are part of the key so that a changed file is read again."""
    document = load(path)
    wrong = _structure(document)
    if wrong:
        raise _error("not_coco", path, wrong)
    return document


def _syntax(error: json.JSONDecodeError) -> str:
    if not error.doc.strip():
        return "is empty"
    text = f"is not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}"
    if error.pos >= len(error.doc.rstrip()) or error.msg.startswith("Unterminated"):
        return f"{text}; the file seems to be cut off"
    return f"{text}, near {error.doc[max(0, error.pos - 20) : error.pos + 20]!r}"


def _encoding(contents: bytes, error: UnicodeDecodeError) -> str:
    line = contents.count(b"\n", 0, error.start) + 1
    column = error.start - contents.rfind(b"\n", 0, error.start)
    return f"is not UTF-8 text: byte {contents[error.start]:#04x} at line {line}, column {column}"


def _structure(document: Any) -> str:
    """Returns what is wrong with the top of the JSON, or ''."""
    if isinstance(document, list):
        scored = document and isinstance(document[0], dict) and "score" in document[0]
        guess = "; it looks like detection results, not annotations" if scored else ""
        return f"holds a list at its top, not an object{guess}"
    if not isinstance(document, dict):
        return f"holds a {type(document).__name__} at its top, not an object"
    absent = [key for key in _LISTS if key not in document]
    if absent:
        keys = ", ".join(map(repr, list(document)[:10])) or "none"
        return f"has no {' and no '.join(map(repr, absent))}; its keys are: {keys}"
    unlisted = [key for key in _LISTS if not isinstance(document[key], list)]
    return f"holds something else than a list under {', '.join(map(repr, unlisted))}" if unlisted else ""


def _missing(path: str, error: OSError) -> DataError:
    return _error("missing_json", path, f"cannot be read ({error.strerror or error})")


def _error(kind: str, path: str, message: str) -> DataError:
    faults = [Fault(kind, path, message=message)]
    return DataError(describe(faults), faults)
