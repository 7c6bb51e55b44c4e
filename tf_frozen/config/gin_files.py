"""Finds and reads gin files, by path or by their name among the shipped ones."""

from __future__ import annotations

import importlib.resources
import os
import pathlib
import re
from typing import NamedTuple

from tf_frozen.config.suggest import did_you_mean
from tf_frozen.errors import ConfigError


class Source(NamedTuple):
    """Text in gin's language; its includes are looked for in `folder`, or only in the package when None."""

    name: str
    text: str
    folder: pathlib.Path | None = None
    is_param: bool = False

    def where(self, line: int) -> str:
        """Returns the place of a line for a message, as in run.gin:12."""
        return self.name if self.is_param else f"{self.name}:{line}"

    def line(self, number: int) -> str:
        """Returns the text of a line, or the beginning of it."""
        text = (self.text.splitlines() or [""])[number - 1].strip()
        return text if len(text) <= 200 else f"{text[:200]}…"

    def checked_text(self) -> str:
        """Returns the text without a byte order mark; ConfigError where it has characters that no text has."""
        for number, line in enumerate(self.text.splitlines(), start=1):
            if strange := re.search(r"[\0\ud800-\udfff]", line):
                raise ConfigError(
                    f"{self.where(number)}: Character {strange.start() + 1} of the line is {strange[0]!r}, "
                    f"which is not UTF-8 text."
                )
        return self.text.removeprefix("\ufeff")


def shipped() -> list[tuple[str, str]]:
    """Returns the name and the purpose of every gin file of the package, those to run first."""
    files = _shipped_files()
    folders = ("runs/", "papers/")
    names = sorted(files, key=lambda name: ("/" in name, *(not name.startswith(folder) for folder in folders), name))
    return [(name, _purpose(files[name].read_text(encoding="utf-8"))) for name in names]


def header(name: str) -> dict[str, str]:
    """Returns the labels of the comment that a shipped gin file opens with, such as 'Purpose', each with its text."""
    comment = re.match(r"(?:#.*\n)*", _shipped_files()[name].read_text(encoding="utf-8"))[0]
    rows = re.findall(r"^# ([A-Z][\w ]+): (.*\n(?:#  .*\n)*)", comment, re.MULTILINE)
    return {label: " ".join(content.replace("\n#", " ").split()) for label, content in rows}


def macros() -> set[str]:
    """Returns the names of the macros that the shipped gin files refer to."""
    texts = (path.read_text(encoding="utf-8") for path in _shipped_files().values())
    return {name for text in texts for name in re.findall(r"%(\w+)", text)}


def _shipped_files() -> dict[str, pathlib.Path]:
    """Returns the gin files of the package by their names, which are paths with forward slashes."""
    root = pathlib.Path(str(importlib.resources.files("tf_frozen.gin_configs")))
    return {path.relative_to(root).as_posix(): path for path in root.rglob("*.gin")}


def _purpose(text: str) -> str:
    """Returns the first paragraph of the first comment, on one line, without the word 'Purpose:'."""
    more = r"(?:\n#+[ \t]+(?![A-Z][\w ]*:)\S.*)*"
    match = re.search(rf"^#+[ \t]*(?:Purpose:)?[ \t]*(\S.*{more})", text, re.MULTILINE)
    return " ".join(re.sub(r"\n#+", " ", match[1]).split()) if match else ""


def find(name: str, *folders: pathlib.Path) -> Source:
    """Returns the gin file `name` from the first of `folders` that has it, else from the package."""
    for folder in folders:
        path = folder / os.path.expanduser(name)
        if os.path.isfile(path):  # False as well for what the file system refuses as a name
            return read(path)
    files = _shipped_files()
    if name in files:
        return Source(name, files[name].read_text(encoding="utf-8"))
    parents = [path for folder in folders if os.path.isdir(path := (folder / name).parent)]
    beside = {path.name for parent in parents for path in parent.glob("*.gin")}
    known = [*files, *(os.path.join(os.path.dirname(name), other) for other in beside)]
    advice = did_you_mean(name, known) or " `tf-frozen configs` lists the shipped ones."
    raise ConfigError(f"There is no gin file '{name}', as a path or among the shipped ones.{advice}")


def read(path: pathlib.Path) -> Source:
    """Returns the gin file at `path`; ConfigError when it is not readable text."""
    try:
        return Source(str(path), path.read_text(encoding="utf-8"), path.parent)
    except OSError as error:
        raise ConfigError(f"The gin file {path} cannot be read: {error}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"The gin file {path} is not UTF-8 text: {error}. Save it as UTF-8.") from error
