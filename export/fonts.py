"""Finds an installed font that has the characters of a text, and a readable form of the text where there is none."""

from __future__ import annotations

import functools
import importlib.util
import logging
import subprocess
from collections.abc import Mapping
from pathlib import Path

from PIL import ImageFont

_LOG = logging.getLogger(__name__)
# Of most alphabets, then of Chinese, Japanese and Korean, as Linux, macOS and Windows name them.
_FILES = (
    "DejaVuSans.ttf",
    "NotoSansCJK-Regular.ttc",
    "NotoSansCJKsc-Regular.otf",
    "wqy-microhei.ttc",
    "wqy-zenhei.ttc",
    "DroidSansFallbackFull.ttf",
    "DroidSansFallback.ttf",
    "unifont.ttf",
    "PingFang.ttc",
    "Hiragino Sans GB.ttc",
    "Arial Unicode.ttf",
    "msyh.ttc",
    "msgothic.ttc",
    "malgun.ttf",
    "simsun.ttc",
)
_SUFFIXES = (".ttf", ".ttc", ".otf")
_NO_CHARACTER = "\U0010ffff"
_CLASSES_LISTED = 20


def labels(names: Mapping[int, str]) -> dict[int, str]:
    """Returns the text of each class id for pictures: its name, or 'class 3' where no installed font can write that.

    Which class such a text stands for is logged, once.
    """
    names = {number: _encodable(name) for number, name in names.items()}
    numbered = {number: f"class {number}" for number, name in names.items() if _best(_not_ascii(name))[1]}
    if numbered:
        legend = [f"{text} is {names[number]}" for number, text in numbered.items()]
        more = f", and {len(legend) - _CLASSES_LISTED} more" if len(legend) > _CLASSES_LISTED else ""
        _warn(
            "No installed font has all the characters of some class names. In pictures "
            f"{', '.join(legend[:_CLASSES_LISTED])}{more}. Install a font that has them, as Noto Sans CJK for Chinese, "
            "Japanese and Korean (on Debian and Ubuntu: apt install fonts-noto-cjk)."
        )
    return names | numbered


def fitting(text: str, size: int) -> tuple[ImageFont.FreeTypeFont, str]:
    """Returns a font, `size` pixels high, and the text as it can write it.

    Characters that no installed font has are escaped as in Python.
    """
    text = _encodable(text)
    file, missing = _best(_not_ascii(text))
    return _font(file, size), text.translate({ord(c): c.encode("ascii", "backslashreplace").decode() for c in missing})


def _encodable(text: str) -> str:
    """Escapes what a file name or a JSON may hold, but no text can: half a pair of UTF-16."""
    return text.encode("utf-8", "backslashreplace").decode()


def _not_ascii(text: str) -> str:
    return "".join(sorted({character for character in text if not character.isascii()}))


@functools.cache
def _best(characters: str) -> tuple[str | None, str]:
    """The first of the fonts that lack the fewest of the characters, and these; None is Pillow's own."""
    lacks: list[tuple[str | None, str]] = []
    for find in (lambda: (None, *_FILES), _of_matplotlib, lambda: _of_fontconfig(characters)):
        lacks += [(file, _missing(file, characters)) for file in find()]
        best = min(lacks, key=lambda found: len(found[1]))
        if not best[1]:
            break
    return best


def _of_matplotlib() -> list[str]:
    """DejaVu Sans (Latin, Cyrillic, Greek, Arabic, Hebrew), which matplotlib brings, where that is installed."""
    package = importlib.util.find_spec("matplotlib")
    folders = package.submodule_search_locations if package else ()
    return [str(Path(folder, "mpl-data", "fonts", "ttf", "DejaVuSans.ttf")) for folder in folders]


def _of_fontconfig(characters: str) -> list[str]:
    """The font files that have all the characters, by fontconfig's fc-list; none where that is not installed."""
    charset = " ".join(f"{ord(character):x}" for character in characters)
    command = ["fc-list", "-f", "%{file}\n", f":charset={charset}"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.splitlines()
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return []
    return sorted(file for file in found if file.lower().endswith(_SUFFIXES))


@functools.cache
def _font(file: str | None, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.load_default(size) if file is None else ImageFont.truetype(file, size)


def _missing(file: str | None, characters: str) -> str:
    """Those of the characters that a font lacks; all, where it is not installed."""
    try:
        font = _font(file, 16)
    except OSError:
        return characters
    shown = lambda character: (font.getbbox(character), bytes(font.getmask(character)))  # noqa: E731
    none = shown(_NO_CHARACTER)
    return "".join(character for character in characters if shown(character) == none)


@functools.cache
def _warn(message: str) -> None:
    _LOG.warning("%s", message)
