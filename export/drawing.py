"""Draws boxes and masks on images, and contact sheets of images."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tf_frozen.export.fonts import fitting
from tf_frozen.export.masks import from_rle

GROUND_TRUTH_COLOR = (255, 255, 255)

_BACKGROUND = (24, 24, 24)
_BLACK = (0, 0, 0)
_GAP = 6
_COLORS = 200  # then they begin again
_SMALL = 4  # times the area of its label, or less: a box that a label should not cover
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
    classes: Sequence[int] | None = None,
) -> np.ndarray:
    """Return a copy of the image with its boxes, each labelled with its name and score, and its masks.

    Args:
      image: uint8 [h, w, 3].
      boxes: [n, 4] = [y1, x1, y2, x2] in pixels of the image; parts outside are not drawn.
      labels: n names, which may be empty.
      scores: n scores; better boxes lie on top.
      ground_truth: [m, 4] true boxes, drawn as thin lines of GROUND_TRUTH_COLOR over the others.
      segmentations: RLE of n masks, which tint what lies under them with the color of their class.
      classes: n places, from 0, of the boxes' classes among all classes, which decide their colors; None is one class.

    Line width and text grow with the image, so that they can be read on thumbnails of one size. A label is written
    where it covers neither another label nor a small box, beside, inside or around its own; where no place is
    free, labels of lower scores are omitted first.
    """
    colors = [class_color(number) for number in (classes if classes is not None else [0] * len(labels))]
    for place in np.argsort(scores, kind="stable") if segmentations is not None else ():
        image = _tint(image, from_rle(segmentations[place]), colors[place])
    picture = Image.fromarray(image).copy()
    pen = ImageDraw.Draw(picture)
    side = (picture.width * picture.height) ** 0.5
    line = max(1, round(side / 250))
    worst_first = sorted(zip(scores, labels, colors, _boxes(boxes), strict=True), key=lambda drawn: drawn[0])
    for _, _, color, box in worst_first:
        _outline(pen, box, color, line)
    for box in _boxes(ground_truth):
        _outline(pen, box, GROUND_TRUTH_COLOR, max(1, line // 2))
    height = max(10, round(side / 45))
    texts = [fitting(f"{label} {score:.2f}".strip(), height) for score, label, _, _ in worst_first]
    best_first = [(*text, color, box) for text, (_, _, color, box) in zip(texts, worst_first, strict=True)][::-1]
    _write_labels(pen, best_first)
    return np.array(picture)


def class_color(number: int) -> tuple[int, int, int]:
    """Return the RGB color of the class at this place, from 0, light enough for black text."""
    return _colors()[number % _COLORS]


@functools.cache
def _colors() -> list[tuple[int, int, int]]:
    """Distinct colors: those picked by hand, then always the one that is furthest from all before."""
    grid = np.stack(np.meshgrid(*[np.arange(0, 256, 15)] * 3, indexing="ij"), -1).reshape([-1, 3])
    luma, saturation = grid @ [0.299, 0.587, 0.114], np.ptp(grid, axis=1)
    grid = grid[(luma > 115) & (saturation > 60)]
    colors = list(_PALETTE)
    gaps = np.min([np.linalg.norm(grid - color, axis=1) for color in colors], axis=0)
    while len(colors) < _COLORS:
        colors.append(tuple(grid[np.argmax(gaps)].tolist()))
        gaps = np.minimum(gaps, np.linalg.norm(grid - colors[-1], axis=1))
    return colors


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
    written = [fitting(caption, 14) for caption in captions]
    width = max(picture.width for picture in pictures) + _GAP
    height = max(picture.height for picture in pictures) + _GAP
    line = max((_text_height(font) for font, _ in written), default=-_GAP) + _GAP
    rows = -(-len(pictures) // columns)
    canvas = Image.new("RGB", (columns * width + _GAP, rows * (height + line) + _GAP), _BACKGROUND)
    pen = ImageDraw.Draw(canvas)
    for index, picture in enumerate(pictures):
        left, top = _GAP + index % columns * width, _GAP + index // columns * (height + line)
        canvas.paste(picture, (left, top))
        if captions:
            font, caption = written[index]
            pen.text((left, top + height - _GAP + 2), _cut(caption, width - _GAP, font), font=font)
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


def _write_labels(
    pen: ImageDraw.ImageDraw,
    drawn: Sequence[tuple[ImageFont.FreeTypeFont, str, tuple[int, int, int], list[float]]],
) -> None:
    """Write (font, text, color, box), the first ones first, each where there is room for it."""
    boxes = np.asarray([box for *_, box in drawn], np.float64).reshape([-1, 4])
    sides = boxes[:, 2:] - boxes[:, :2]
    written: list[tuple[int, int, int, int]] = []
    for font, text, color, box in drawn:
        width, height = round(font.getlength(text)) + 2, _text_height(font)
        small = (sides.prod(axis=1) <= _SMALL * width * height) & (sides.min(axis=1) > 0)
        taken = np.concatenate([boxes[small], np.reshape(written, [-1, 4])])
        free = (spot for spot in _spots(box, width, height, pen.im.size) if not _covers(spot, taken))
        spot = next(free, None)
        if spot:
            top, left, bottom, right = spot
            written.append(spot)
            pen.rectangle((left, top, right - 1, bottom - 1), fill=color)
            pen.text((left + 1, top), text, fill=_BLACK, font=font)


def _spots(box: list[float], width: int, height: int, size: tuple[int, int]) -> list[tuple[int, int, int, int]]:
    """Where a label may stand: above the box, inside, below, right or left of it; text never begins outside."""
    y1, x1, y2, x2 = np.clip(box, 0, [size[1], size[0]] * 2).tolist()
    above, below = math.floor(y1) - height, math.ceil(y2)
    corners = [(above, x1), (y1, x1), (below, x1), (above, x2 - width), (below, x2 - width)]
    corners += [(y1, math.ceil(x2)), (y1, math.floor(x1) - width)]
    spots = []
    for top, left in [(top, left) for top, left in corners if 0 <= top <= size[1] - height] or [(0, x1)]:
        top, left = round(top), round(max(0, min(left, size[0] - width)))
        spots.append((top, left, top + height, left + width))
    return spots


def _covers(spot: tuple[int, int, int, int], taken: np.ndarray) -> bool:
    top, left, bottom, right = spot
    covered = (taken[:, 0] < bottom) & (taken[:, 2] > top) & (taken[:, 1] < right) & (taken[:, 3] > left)
    return bool(covered.any())


def _text_height(font: ImageFont.FreeTypeFont) -> int:
    return sum(font.getmetrics())


def _cut(text: str, width: int, font: ImageFont.FreeTypeFont) -> str:
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."
