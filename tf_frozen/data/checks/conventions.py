"""Infers from the distribution of boxes whether they follow another convention than [x, y, width, height] in pixels.

A convention is judged by how many boxes it leaves outside their images, compared with [x, y, width, height]; a few odd
rows do not decide.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from tf_frozen.data.checks.boxes import is_finite, is_number
from tf_frozen.data.faults import Problem

_UNIT_SLACK = 0.05  # of the image, that fractions reach beyond it
_EDGE_SLACK = 0.1  # of a box's side, beside a pixel, that it may reach beyond its image; annotators draw so
_CERTAIN, _GUESS = 7, 3  # boxes that do not fit and would fit otherwise; by chance, 1 in 2⁷ sets
_MOST_UNFIT = 0.1  # of those, that may not fit the other convention either
_MATCH_IOU = 0.5
_TIMES_AS_MANY = 3  # matches that another convention must have, beside those of a certain one
_LEAST_MATCHED = 0.2  # of the boxes that are judged
_LEAST_Z = 3.0  # standard errors of a rank correlation


def _corners(a, b, c, d):
    return a, b, c, d


def _sizes(a, b, c, d):
    return a, b, a + c, b + d


def _centers(a, b, c, d):
    return a - c / 2, b - d / 2, a + c / 2, b + d / 2


def _swapped(convention: Callable) -> Callable:
    return lambda a, b, c, d: convention(b, a, d, c)


_OTHERS = {  # the likelier first
    "corners [x1, y1, x2, y2]": _corners,
    "[y, x, height, width]": _swapped(_sizes),
    "centers [center x, center y, width, height]": _centers,
    "corners [y1, x1, y2, x2]": _swapped(_corners),
}


def check_convention(boxes: Sequence[Any], sizes: Sequence[tuple[float | None, float | None]]) -> Problem | None:
    """Returns what boxes [x, y, width, height], as in a COCO JSON, look like instead; malformed ones are ignored.

    `sizes` holds height and width of the image of each box, None where they are not known. The problem is a fault where
    many boxes are impossible as they are and nearly all are possible otherwise, a warning where it is a guess.
    """
    pairs = [
        (box, size)
        for box, size in zip(boxes, sizes, strict=True)
        if isinstance(box, (list, tuple)) and len(box) == 4 and all(is_number(v) and is_finite(v) for v in box)
        if min(box[2:]) > 0  # detectors fill up with zeros
    ]
    if not pairs:
        return None
    values = np.asarray([box for box, _ in pairs], np.float64)
    limits = np.asarray([size for _, size in pairs], np.float64)  # None becomes NaN, which nothing is beyond
    unit = ((values >= -_UNIT_SLACK) & (values <= 1 + _UNIT_SLACK)).all(axis=1)
    if unit.mean() > 0.5:
        return _fractions(values[unit], len(values))
    problem = _other_convention(values[~unit], limits[~unit])
    if not problem and unit.sum() >= _GUESS:
        message = f"{unit.sum()} of {len(values)} boxes lie within the first pixel of their images, as fractions do"
        return Problem("some_normalized_boxes", message)
    return problem


def check_matches(images: Iterable[tuple[np.ndarray, np.ndarray]]) -> Problem | None:
    """Returns the convention in which results match objects that they miss as [x, y, width, height]; a warning.

    `images` holds for each image the boxes found [n, 4], most confident first, and those of its objects [m, 4], which
    are [x, y, width, height]. The first m boxes found are judged: one matches where its IoU with an object is at least
    0.5. Another convention is named if it has at least 7 matches more than three times those of the given one, and
    matches at least a fifth of the boxes: those of a poor detector match few objects in any convention.
    """
    judged = [(found[: len(objects)], objects) for found, objects in images if len(found) and len(objects)]
    given = _matches(_sizes, judged)
    most, name = max(((_matches(read, judged), name) for name, read in _OTHERS.items()), key=lambda pair: pair[0])
    count = sum(len(found) for found, _ in judged)
    if most < _CERTAIN + _TIMES_AS_MANY * given or most < _LEAST_MATCHED * count:
        return None
    message = f"of the {count} most confident boxes {given or 'none'} match an object; read as {name}, {most} would"
    return Problem("suspected_box_convention", message)


def _matches(convention: Callable, images: Sequence[tuple[np.ndarray, np.ndarray]]) -> int:
    """Returns how many of the boxes found have IoU 0.5 with an object of their image when read in a convention."""
    count = 0
    for found, objects in images:
        x1, y1, x2, y2 = convention(*found.T)
        boxes = np.stack([x1, y1, np.maximum(x2 - x1, 0), np.maximum(y2 - y1, 0)], axis=1)
        overlaps = coco_mask.iou(boxes, objects, np.zeros(len(objects), np.uint8))
        count += int((overlaps.max(axis=1) >= _MATCH_IOU).sum())
    return count


def _fractions(values: np.ndarray, count: int) -> Problem:
    message = f"{len(values)} of {count} boxes lie between 0 and 1, as fractions of the image do"
    other = _other_convention(values, np.ones([len(values), 2]), pixel=0.0)
    return Problem("normalized_boxes", f"{message}, and {other.message}" if other else message)


def _other_convention(values: np.ndarray, sizes: np.ndarray, pixel: float = 1.0) -> Problem | None:
    """Returns the first convention that fits nearly all boxes [n, 4] of images [n, 2] where the given one does not."""
    unfit = _unfit(_sizes, values, sizes, pixel, _EDGE_SLACK).sum()
    left, name = min(
        ((_unfit(read, values, sizes, pixel).sum(), name) for name, read in _OTHERS.items()), key=lambda pair: pair[0]
    )
    if unfit >= _GUESS and left <= unfit * _MOST_UNFIT:
        message = f"{unfit} of {len(values)} boxes reach beyond their images; read as {name}, {left or 'none'} would"
        return Problem("other_box_convention" if unfit >= _CERTAIN else "suspected_box_convention", message)
    if not unfit and _grow_with_position(values, sizes):
        message = (
            "width and height are larger than x and y in nearly every box, and grow with them, "
            "as those of corners [x1, y1, x2, y2] do"
        )
        return Problem("suspected_box_convention", message)
    return None


def _unfit(convention: Callable, values: np.ndarray, sizes: np.ndarray, pixel: float, slack: float = 0.0) -> np.ndarray:
    """Returns which boxes have no area or do not lie within their images: bool [n]."""
    x1, y1, x2, y2 = convention(*values.T)
    height, width = sizes.T
    x_slack, y_slack = pixel + slack * np.abs(x2 - x1), pixel + slack * np.abs(y2 - y1)
    empty = (x2 <= x1) | (y2 <= y1)
    before = (x1 < -x_slack) | (y1 < -y_slack)
    return empty | before | (x2 > width + x_slack) | (y2 > height + y_slack)


def _grow_with_position(values: np.ndarray, sizes: np.ndarray) -> bool:
    """Tells whether the boxes would all do as corners, and their ends follow their beginnings, as a corner does.

    Width and x do not: whatever is larger has less room to lie in.
    """
    fractions = values / np.where(np.isnan(sizes), 1, sizes)[:, [1, 0, 1, 0]]
    x, y, width, height = fractions.round(6).T  # equal boxes of images of other sizes must rank equal
    if np.mean((width > x) & (height > y)) < 0.95:
        return False
    return _rank_z(x, width) > _LEAST_Z and _rank_z(y, height) > _LEAST_Z


def _rank_z(first: np.ndarray, second: np.ndarray) -> float:
    """Returns Spearman's rank correlation of two columns [n] in standard errors (Fisher's transformation)."""
    if len(first) <= 3 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    ranks = [np.unique(column, return_inverse=True)[1] for column in (first, second)]
    rho = np.clip(np.corrcoef(*ranks)[0, 1], -0.999, 0.999)
    return float(np.arctanh(rho) * np.sqrt(len(first) - 3))
