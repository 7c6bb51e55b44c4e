"""Checks COCO segmentations, polygons or RLE."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from tf_frozen.data.checks.boxes import is_finite, is_number
from tf_frozen.data.faults import Problem
from tf_frozen.data.segmentations import polygons, to_rle

_FIRST_CODE, _LAST_CODE = 48, 111
_LONGEST_OUTLINE = 100  # times height plus width: pycocotools keeps five points a pixel of it in memory


def check_segmentation(
    segmentation: Any, box: Sequence[float], height: float | None, width: float | None
) -> Problem | None:
    """Returns what is wrong with a segmentation, or None.

    `box` is the annotation's [x, y, width, height]; `height` and `width` of the image are None if not known.
    """
    if not segmentation:
        return Problem("missing_segmentation", "there is no segmentation")
    wrong = wrong_format(segmentation, height, width)
    if wrong:
        return Problem("malformed_segmentation", wrong)
    left, top, right, bottom = _extent(segmentation)
    if None not in (height, width) and not _covers_a_pixel(segmentation, int(height), int(width)):
        return Problem("malformed_segmentation", "the segmentation covers no pixel")
    x, y, w, h = box
    if min(right, x + w) <= max(left, x) or min(bottom, y + h) <= max(top, y):
        return Problem("segmentation_outside_box", "no part of the segmentation lies within the box")
    return None


def wrong_format(segmentation: Any, height: float | None, width: float | None) -> str | None:
    """Returns why a segmentation cannot be decoded on an image of this size, or None; sizes of None are not checked."""
    if isinstance(segmentation, Mapping):
        return _wrong_runs(segmentation, height, width)
    if not isinstance(segmentation, list) or not all(map(_is_polygon, segmentation)):
        return "the segmentation is neither a list of polygons nor {'size', 'counts'}"
    if not polygons(segmentation):
        return "no polygon of the segmentation has three corners"
    return None if None in (height, width) else _wrong_extent(segmentation, height, width)


def _is_polygon(polygon: Any) -> bool:
    is_list = isinstance(polygon, list) and len(polygon) % 2 == 0
    return is_list and all(is_number(value) and is_finite(value) for value in polygon)


def _wrong_extent(segmentation: list, height: float, width: float) -> str | None:
    """Returns the problem of polygons far outside the image or much too long, which would fill the memory."""
    side = max(height, width)
    for polygon in polygons(segmentation):
        corners = np.reshape(np.asarray(polygon, np.float64), [-1, 2])
        if corners.min() < -side or corners.max() > 2 * side:
            x, y = corners[np.abs(corners).max(axis=1).argmax()]
            return (
                f"the segmentation reaches ({x:g}, {y:g}), far beyond the image, {width:g} px wide and {height:g} high"
            )
        outline = np.abs(np.diff(corners, axis=0, append=corners[:1])).sum()
        if outline > _LONGEST_OUTLINE * (height + width):
            return f"the segmentation has a polygon whose outline is {outline:g} px long"
    return None


def _covers_a_pixel(segmentation: list | Mapping, height: int, width: int) -> bool:
    """Tells whether the mask of a usable segmentation on its image is not empty."""
    if isinstance(segmentation, list) and any(_is_thick(polygon, height, width) for polygon in polygons(segmentation)):
        return True
    return int(coco_mask.area(to_rle(segmentation, height, width))) > 0


def _is_thick(polygon: list[float], height: int, width: int) -> bool:
    """Tells whether a polygon within the image has room for a circle of a pixel's radius, without drawing it.

    The radius of the largest circle within is at least the area over the length of the outline.
    """
    x, y = corners = np.reshape(np.asarray(polygon, np.float64), [-1, 2]).T
    if corners.min() < 0 or x.max() > width or y.max() > height:
        return False
    to_x, to_y = np.roll(x, -1), np.roll(y, -1)
    return abs((x * to_y - to_x * y).sum()) / 2 > np.hypot(to_x - x, to_y - y).sum()


def _wrong_runs(segmentation: Mapping, height: float | None, width: float | None) -> str | None:
    size, counts = segmentation.get("size"), segmentation.get("counts")
    if not isinstance(size, list) or len(size) != 2 or not all(type(side) is int and side > 0 for side in size):
        return "the segmentation's 'size' is not [height, width]"
    if None not in (height, width) and tuple(size) != (height, width):
        return f"the segmentation is {size[1]} px wide and {size[0]} high, its image {width:g} and {height:g}"
    runs = _runs(counts)
    if runs is None or runs.min(initial=0) < 0 or runs.sum() != size[0] * size[1]:
        return f"the RLE's 'counts' do not make up {size[1]} x {size[0]} px"
    return None


def _runs(counts: Any) -> np.ndarray | None:
    """The runs [n] int64 of 'counts', a list or COCO's text; None if it is neither.

    pycocotools takes any text, and gives random pixels where it is too short.
    """
    if isinstance(counts, list):
        whole = all(type(run) is int and abs(run) < 2**31 for run in counts)
        return np.asarray(counts, np.int64) if whole else None
    if isinstance(counts, str):
        counts = counts.encode("utf-8", "surrogatepass")
    codes = np.frombuffer(counts, np.uint8).astype(np.int64) if isinstance(counts, bytes) else np.zeros(0, np.int64)
    if not codes.size or codes.min() < _FIRST_CODE or codes.max() > _LAST_CODE:
        return None
    # Five bits a character, low ones first; the sixth says that more follow, the last one's fifth is the sign.
    codes -= _FIRST_CODE
    is_last = codes & 32 == 0
    ends = np.flatnonzero(is_last)
    starts = np.concatenate([[0], ends[:-1] + 1])
    if not is_last[-1] or (ends - starts).max() > 6:
        return None
    place = np.arange(codes.size) - np.repeat(starts, ends - starts + 1)
    runs = np.add.reduceat((codes & 31) << 5 * place, starts)
    runs -= np.where(codes[ends] & 16, 1 << 5 * (ends - starts + 1), 0)
    # From the fourth on, a run is written as its difference from the last but one.
    runs[1::2], runs[2::2] = np.cumsum(runs[1::2]), np.cumsum(runs[2::2])
    return runs


def _extent(segmentation: list | Mapping) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of what a usable segmentation covers."""
    if isinstance(segmentation, Mapping):
        x, y, w, h = coco_mask.toBbox(to_rle(segmentation, *segmentation["size"]))
        return x, y, x + w, y + h
    corners = np.concatenate([np.reshape(polygon, [-1, 2]) for polygon in polygons(segmentation)])
    return *corners.min(0), *corners.max(0)
