"""A font that has the characters of a text, where one is installed, and a readable form of the text where none is."""

from __future__ import annotations

import functools
import logging
from collections.abc import Sequence

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
_NO_CHARACTER = "\U0010ffff"


def fitting(texts: Sequence[str], size: int) -> tuple[ImageFont.FreeTypeFont, list[str]]:
    """Returns a font of so many pixels, and the texts as it can write them.

    Where no installed font has every character, those that are missing are escaped as in Python, which is logged once.
    """
    # What a file name or a JSON may hold, but no text can: half a pair of UTF-16.
    texts = [text.encode("utf-8", "backslashreplace").decode() for text in texts]
    characters = "".join(sorted({character for text in texts for character in text if not character.isascii()}))
    if not characters:
        return ImageFont.load_default(size), texts
    file, missing = _best(characters)
    if missing:
        _warn()
        texts = [
            text.translate({ord(c): c.encode("ascii", "backslashreplace").decode() for c in missing}) for text in texts
        ]
    return ImageFont.truetype(file, size) if file else ImageFont.load_default(size), texts


@functools.cache
def _best(characters: str) -> tuple[str | None, str]:
    """The first of the fonts that lack the fewest of the characters, and these; None is Pillow's own, of ASCII."""
    lacks = [(file, _missing(file, characters)) for file in _FILES]
    return min([(None, characters), *lacks], key=lambda found: len(found[1]))


def _missing(file: str, characters: str) -> str:
    """Those of the characters that a font lacks; all, where it is not installed."""
    try:
        font = ImageFont.truetype(file, 16)
    except OSError:
        return characters
    shown = lambda character: (font.getbbox(character), bytes(font.getmask(character)))  # noqa: E731
    none = shown(_NO_CHARACTER)
    return "".join(character for character in characters if shown(character) == none)


@functools.cache
def _warn() -> None:
    _LOG.warning(
        "No installed font has all the characters of the class names: in pictures they are escaped. Install one, as "
        "Noto Sans CJK (on Debian and Ubuntu: apt install fonts-noto-cjk)."
    )
