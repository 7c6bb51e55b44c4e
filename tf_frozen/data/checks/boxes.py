"""Checks one box of a COCO JSON: [x, y, width, height] in pixels from the top left corner of the image."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from tf_frozen.data.faults import Problem

_EDGE_TOLERANCE = 1.0  # px that a box may reach beyond its image, as rounding makes it do; it is clipped
_MOST_PX = 1e9  # that a box may reach, on any image
_LEAST_SIDE = 1e-3  # px; corners closer than that can fall together in float32


def check_box(box: Any, height: float | None, width: float | None, clip: bool = False) -> Problem | None:
    """Returns what is wrong with a box, or None; `height` and `width` of its image are None if not known.

    With `clip` a box that lies partly within its image is a warning.
    """
    problem = check_numbers(box)
    if problem:
        return problem
    x, y, w, h = box
    if w < _LEAST_SIDE or h < _LEAST_SIDE:
        return Problem("box_without_area", f"the box is {w:g} px wide and {h:g} px high")
    if height is None or width is None:
        return None
    beyond = {"left": -x, "top": -y, "right": x + w - width, "bottom": y + h - height}
    edges = [f"{by:.1f} px beyond the {edge} edge" for edge, by in beyond.items() if by > _EDGE_TOLERANCE]
    overlap = min(min(x + w, width) - max(x, 0), min(y + h, height) - max(y, 0))
    if overlap >= _LEAST_SIDE and not edges:
        return None
    if clip and overlap >= _LEAST_SIDE:
        return Problem("clipped_box", f"the box reaches {' and '.join(edges)} of the image and is clipped to it")
    reaches = f"reaches {' and '.join(edges)} of" if edges else "covers nothing of"
    return Problem("box_outside_image", f"the box {reaches} the image, {width:g} px wide and {height:g} high")


def check_numbers(box: Any) -> Problem | None:
    """Returns a problem unless a box is four numbers that pixels can have."""
    if not isinstance(box, (list, tuple, np.ndarray)) or len(box) != 4 or not all(map(is_number, box)):
        return Problem("malformed_box", "there is no bbox" if box is None else "the bbox is not four numbers")
    if not all(map(is_finite, box)) or max(map(abs, box)) > _MOST_PX:
        return Problem("non_finite_box", "the box holds NaN, an infinite number, or one beyond a thousand million")
    return None


def is_object(row: Any) -> bool:
    """Whether a row of the list 'annotations' is an object to train on: it has a valid box and is not a crowd."""
    return isinstance(row, Mapping) and row.get("iscrowd") != 1 and not check_box(row.get("bbox"), None, None)


def is_number(value: Any) -> bool:
    """Tells whether a value is a number, NumPy's too; NaN is one."""
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


def is_finite(value: float) -> bool:
    """Tells whether a number is finite as a float, which a very long integer is not."""
    try:
        return math.isfinite(value)
    except OverflowError:
        return False
