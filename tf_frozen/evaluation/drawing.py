"""Boxes and masks drawn on images, and contact sheets of them."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tf_frozen.evaluation.masks import from_rle

GROUND_TRUTH_COLOR = (255, 255, 255)

_BACKGROUND = (24, 24, 24)
_BLACK = (0, 0, 0)
_GAP = 6
_TINT = 0.45  # of a mask's colour; the rest is the picture's
_PALETTE = (
    (255, 90, 60),
    (60, 180, 255),
    (120, 230, 70),
    (230, 90, 230),
    (255, 205, 0),
    (0, 215, 185),
    (255, 140, 175),
    (165, 140, 255),
)


def draw(
    image: np.ndarray,
    boxes: np.ndarray,
    labels: Sequence[str],
    scores: Sequence[float],
    ground_truth: np.ndarray | None = None,
    segmentations: Sequence[dict] | None = None,
) -> np.ndarray:
    """Return a copy of the image with its boxes, each labelled with its name and score, and its masks.

    Args:
      image: uint8 [h, w, 3].
      boxes: [n, 4] = [y1, x1, y2, x2] in pixels of the image; parts outside are left out.
      labels: n names, which may be empty; boxes of one name have one colour.
      scores: n scores; better boxes lie on top.
      ground_truth: [m, 4] true boxes, drawn as thin lines of GROUND_TRUTH_COLOR over the others.
      segmentations: run lengths of n masks, which tint what lies under them with the colour of their name.

    Line width and text grow with the image, so that they can be read on thumbnails of one size.
    """
    for place in np.argsort(scores, kind="stable") if segmentations is not None else ():
        image = _tint(image, from_rle(segmentations[place]), label_color(labels[place]))
    picture = Image.fromarray(image).copy()
    pen = ImageDraw.Draw(picture)
    side = (picture.width * picture.height) ** 0.5
    line = max(1, round(side / 250))
    worst_first = sorted(zip(scores, labels, _boxes(boxes), strict=True), key=lambda drawn: drawn[0])
    for _, label, box in worst_first:
        _outline(pen, box, label_color(label), line)
    for box in _boxes(ground_truth):
        _outline(pen, box, GROUND_TRUTH_COLOR, max(1, line // 2))
    font = _font(max(10, round(side / 45)), labels)
    for value, label, box in worst_first:
        _write_label(pen, box, f"{label} {value:.2f}".strip(), label_color(label), font)
    return np.array(picture)


def label_color(label: str) -> tuple[int, int, int]:
    """Return the RGB colour of a name, the same in every run, light enough for black text."""
    return _PALETTE[zlib.crc32(label.encode()) % len(_PALETTE)]


def sheet(images: Sequence[np.ndarray], columns: int, captions: Sequence[str] = (), side: int = 512) -> np.ndarray:
    """Return uint8 images [h, w, 3] of any sizes as one image, row by row, with a caption below each.

    Images longer than `side` pixels are shrunk to it. There is a caption for each image or none at all; one
    that is too long is cut. Raises ValueError without images, or with a wrong number of captions.
    """
    if not images or columns < 1 or len(captions) not in (0, len(images)):
        raise ValueError(f"No sheet of {len(images)} images, {len(captions)} captions, {columns} columns.")
    pictures = [Image.fromarray(image) for image in images]
    for picture in pictures:
        picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    columns = min(columns, len(pictures))
    font = _font(14, captions)
    width = max(picture.width for picture in pictures) + _GAP
    height = max(picture.height for picture in pictures) + _GAP
    line = _text_height(font) + _GAP if captions else 0
    rows = -(-len(pictures) // columns)
    canvas = Image.new("RGB", (columns * width + _GAP, rows * (height + line) + _GAP), _BACKGROUND)
    pen = ImageDraw.Draw(canvas)
    for index, picture in enumerate(pictures):
        left, top = _GAP + index % columns * width, _GAP + index // columns * (height + line)
        canvas.paste(picture, (left, top))
        if captions:
            pen.text((left, top + height - _GAP + 2), _cut(captions[index], width - _GAP, font), font=font)
    return np.array(canvas)


def _tint(image: np.ndarray, mask: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
    image = image.copy()
    image[mask] = np.round((1 - _TINT) * image[mask] + _TINT * np.asarray(color)).astype(np.uint8)
    return image


def _boxes(boxes: np.ndarray | None) -> list[list[float]]:
    return [] if boxes is None else np.asarray(boxes, np.float64).reshape(-1, 4).tolist()


def _outline(pen: ImageDraw.ImageDraw, box: list[float], color: tuple[int, int, int], line: int) -> None:
    width, height = pen.im.size
    y1, x1, y2, x2 = np.round(np.clip(box, -line, [height + line, width + line] * 2)).astype(int).tolist()
    pen.rectangle((x1, y1, max(x1, x2 - 1), max(y1, y2 - 1)), outline=color, width=line)


def _write_label(
    pen: ImageDraw.ImageDraw,
    box: list[float],
    text: str,
    color: tuple[int, int, int],
    font: ImageFont.FreeTypeFont,
) -> None:
    """Write above the box, or inside it if there is no room above; text never begins outside the image."""
    width, height = pen.im.size
    text_width, text_height = round(font.getlength(text)) + 2, _text_height(font)
    top = box[0] - text_height if box[0] >= text_height else box[0]
    top = round(max(0, min(top, height - text_height)))
    left = round(max(0, min(box[1], width - text_width)))
    pen.rectangle((left, top, left + text_width - 1, top + text_height - 1), fill=color)
    pen.text((left + 1, top), text, fill=_BLACK, font=font)


def _font(size: int, texts: Sequence[str]) -> ImageFont.FreeTypeFont:
    """Pillow's own font has only ASCII; DejaVu, where it is installed, has most alphabets."""
    if not all(text.isascii() for text in texts):
        with contextlib.suppress(OSError):
            return ImageFont.truetype("DejaVuSans.ttf", size)
    return ImageFont.load_default(size)


def _text_height(font: ImageFont.FreeTypeFont) -> int:
    return sum(font.getmetrics())


def _cut(text: str, width: int, font: ImageFont.FreeTypeFont) -> str:
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."
