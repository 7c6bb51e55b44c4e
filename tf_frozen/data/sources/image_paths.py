"""Finds the images of a data set: where its file names say, or by the end of their paths where that is unambiguous."""

from __future__ import annotations

import collections
import itertools
import os
import re
import unicodedata
import urllib.parse
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tf_frozen.data.faults import Fault

_MOST_FILES = 1_000_000  # in the folder of images; among more nothing is searched for
_SPLIT = re.compile(r"(train|val|test|dev)", re.IGNORECASE)


class Images(NamedTuple):
    """The path of each image, '' for no name; hints about missing files by index; at most one warning."""

    files: list[str]
    hints: dict[int, str]
    warnings: list[Fault]


def locate(folder: str, names: Sequence[str]) -> Images:
    """Returns where the images of these file names lie below `folder`.

    A name with backslashes, percent encoding, another Unicode form, a folder too many or too few, or the path of
    another machine stands for the one file with the longest matching end of its path. That is not done where nothing
    but the last part matches although both have folders, where the splits differ (train, val), or where several names
    would share a file.
    """
    files = [os.path.join(folder, name) if name else "" for name in names]
    missing = [index for index, file in enumerate(files) if file and not os.path.exists(file)]
    found = _by_stem(folder) if missing else {}
    matches = {index: _matches(names[index], found) for index in missing}
    moved = {index: paths[0] for index, paths in matches.items() if _is_certain(names[index], paths, folder)}
    owners = collections.Counter(os.path.normpath(file) for index, file in enumerate(files) if index not in moved)
    owners.update(os.path.normpath(os.path.join(folder, path)) for path in moved.values())
    hints = {}
    for index in missing:
        path = os.path.join(folder, moved.get(index, ""))
        if index in moved and owners[os.path.normpath(path)] == 1:
            files[index] = path
        else:
            hints[index] = _hint(names[index], matches[index], found, folder)
    changed = [index for index in missing if index not in hints]
    if not changed:
        return Images(files, hints, [])
    name, file = names[changed[0]], files[changed[0]]
    form = " in another Unicode form" if _composed(file) == _composed(os.path.join(folder, name)) else ""
    example = f"{name!r} is {file}{form}"
    message = f"{len(changed)} of {len(names)} images were found by the end of their paths only: {example}"
    return Images(files, hints, [Fault("moved_image", folder, message=message)])


def _by_stem(folder: str) -> dict[str, list[str]]:
    """Returns the paths of all files below a folder, relative to it, by their names without extension or case."""
    paths = (os.path.relpath(os.path.join(root, name), folder) for root, _, names in os.walk(folder) for name in names)
    stems = collections.defaultdict(list)
    for path in itertools.islice(paths, _MOST_FILES + 1):
        stems[_stem(_parts(path)[-1])].append(path)
    return stems if sum(map(len, stems.values())) <= _MOST_FILES else {}


def _matches(name: str, found: dict[str, list[str]]) -> list[str]:
    """Returns the files whose path shares the longest end with a name, the last part at least."""
    lengths = {path: _shared(name, path) for path in found.get(_stem(_last(name)), ())}
    most = max(lengths.values(), default=0)
    return [path for path, length in lengths.items() if length == most > 0]


def _is_certain(name: str, paths: list[str], folder: str) -> bool:
    if len(paths) != 1:
        return False
    shared = _shared(name, paths[0])
    theirs, ours = _parts(name)[:-shared], _parts(paths[0])[:-shared]
    splits = [_split(theirs), _split([os.path.basename(os.path.normpath(folder)), *ours])]
    return (shared > 1 or not theirs or not ours) and not (all(splits) and splits[0] != splits[1])


def _hint(name: str, matches: list[str], found: dict[str, list[str]], folder: str) -> str:
    """Returns what differs between a name and the file that it may mean, '' if nothing is like it."""
    alike = matches or found.get(_stem(_last(name)), [])
    if not alike:
        return ""
    if len(alike) > 1:
        listed = " and ".join(sorted(alike)[:2])
        return f"; {len(alike)} files are named like it, as {listed}: file_name must say which"
    path = alike[0]
    last, other = _last(name), _parts(path)[-1]
    differences = {
        "the folder": [part.lower() for part in _parts(name)[:-1]] != [part.lower() for part in _parts(path)[:-1]],
        "upper and lower case": not matches and last.lower() == other.lower(),
        "the extension": last.lower() != other.lower(),
    }
    differs = " and ".join(what for what, does in differences.items() if does)
    return f"; did you mean {os.path.join(folder, path)}? It differs in {differs}"


def _shared(name: str, path: str) -> int:
    """Returns how many parts at the ends of two paths are the same."""
    pairs = zip(reversed(_parts(name)), reversed(_parts(path)), strict=False)
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))


def _parts(path: str) -> list[str]:
    """Returns the parts of a path, of Windows too, without percent encoding and in one Unicode form."""
    decoded = (_composed(urllib.parse.unquote(part)) for part in re.split(r"[\\/]+", path))
    return [part for part in decoded if part not in ("", ".")] or [""]


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _last(path: str) -> str:
    return _parts(path)[-1]


def _stem(name: str) -> str:
    return os.path.splitext(name)[0].lower()


def _split(parts: Sequence[str]) -> str:
    """Returns the last of the parts that is named after a split, as 'val' for 'valid' and 'val2017'; '' for none."""
    found: Iterator[re.Match] = filter(None, (_SPLIT.match(part) for part in reversed(parts)))
    return next((match[1].lower() for match in found), "")
