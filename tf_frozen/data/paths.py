"""Paths as users write them: plain ones, and 'embedded:...' for the data inside the package."""

from __future__ import annotations

import os

from tf_frozen.data.faults import Fault, describe
from tf_frozen.errors import DataError

_EMBEDDED = "embedded:"
_FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "embedded")


def resolve(path: str) -> str:
    """Returns where `path` lies on disk; 'embedded:NAME' is a file of the package, `~` is the user's home.

    Raises DataError if the package has no embedded data of that name.
    """
    path = os.fspath(path)
    if not path.startswith(_EMBEDDED):
        return os.path.expanduser(path)
    found = os.path.join(_FOLDER, path[len(_EMBEDDED) :])
    if os.path.exists(found):
        return found
    message = f"the package has no such data; it has {', '.join(_embedded_names())}"
    fault = Fault("missing_embedded", path, message=message)
    raise DataError(describe([fault]), [fault])


def _embedded_names() -> list[str]:
    """Returns what may follow 'embedded:', two folders deep: data sets with their splits."""
    names = []
    for dataset in sorted(os.listdir(_FOLDER)):
        entries = sorted(os.listdir(os.path.join(_FOLDER, dataset)))
        names += [f"{_EMBEDDED}{dataset}/{entry}" for entry in entries]
    return names
