"""Resamples masks on a grid over their boxes to masks of the whole image, one at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

_LEAST_SIDE = 1e-3  # pixels; a box without area has no quotient


def paste(mask: np.ndarray, box: np.ndarray, height: int, width: int) -> np.ndarray:
    """The pixels that are likelier the object than not: uint8 [height, width], column by column in memory.

    `mask` [h, w] holds probabilities at the centres of equal cells of the `box` [y1, x1, y2, x2], pixels of the image;
    between them it is read bilinearly, and outside it is 0.
    """
    canvas = np.zeros([height, width], np.uint8, order="F")
    rows, y = _places(box[0], box[2], mask.shape[0], height)
    columns, x = _places(box[1], box[3], mask.shape[1], width)
    canvas[rows, columns] = _between(_between(np.pad(mask, 1), y).T, x).T > 0.5
    return canvas


def to_rles(masks: np.ndarray, boxes: np.ndarray, height: int, width: int) -> list[dict[str, Any]]:
    """COCO's RLEs {size, counts}, ready for JSON, of n masks [n, h, w] of boxes [n, 4], as `paste` has them."""
    rles = (coco_mask.encode(paste(mask, box, height, width)) for mask, box in zip(masks, boxes, strict=True))
    return [{"size": [height, width], "counts": rle["counts"].decode("ascii")} for rle in rles]


def from_rle(rle: dict[str, Any]) -> np.ndarray:
    """The mask, bool [height, width], of an RLE."""
    return coco_mask.decode(rle).astype(bool)


def _places(low: float, high: float, cells: int, length: int) -> tuple[slice, np.ndarray]:
    """Returns the pixels of an axis that a box covers, and their centres in cells, counted with one more cell around.

    Cell 0 is the one before the first, of zeros.
    """
    start = max(0, int(np.floor(low)))
    covered = slice(start, max(start, min(length, int(np.ceil(high)))))
    pixels = np.arange(covered.start, covered.stop, dtype=np.float32) + 0.5
    return covered, np.clip((pixels - low) / max(high - low, _LEAST_SIDE) * cells + 0.5, 0, cells + 1)


def _between(rows: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Interpolates linearly between rows [m, k] at places [n]: [n, k]."""
    low = np.minimum(places.astype(int), len(rows) - 2)
    part = (places - low).astype(rows.dtype)[:, np.newaxis]
    return rows[low] * (1 - part) + rows[low + 1] * part
