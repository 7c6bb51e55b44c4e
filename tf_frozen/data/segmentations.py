"""Decodes COCO segmentations, polygons or RLE, one object at a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

_LEAST_NUMBERS = 6  # a triangle; public data sets hold points and lines among their polygons, which cover nothing
_FARTHEST_CORNER = 1e5  # cells of a grid over a box, beyond which the image's pixels are cheaper


def to_rle(segmentation: list | Mapping, height: int, width: int) -> dict[str, Any]:
    """The compressed RLE {size, counts} of a usable segmentation on an image of this size."""
    if isinstance(segmentation, Mapping):
        is_compressed = isinstance(segmentation["counts"], (str, bytes))
        return dict(segmentation) if is_compressed else coco_mask.frPyObjects(segmentation, height, width)
    return coco_mask.merge(coco_mask.frPyObjects(polygons(segmentation), height, width))


def box_mask(segmentation: list | Mapping, box: np.ndarray, height: int, width: int, side: int) -> np.ndarray:
    """Returns the part of an object within a box [y1, x1, y2, x2]: uint8 [side, side], 1 inside the object.

    Polygons are drawn at that size, never at the image's.
    """
    y1, x1, y2, x2 = np.asarray(box, np.float64)
    if isinstance(segmentation, Mapping):
        whole = coco_mask.decode(to_rle(segmentation, height, width))
        fraction = (np.arange(side) + 0.5) / side
        rows = np.clip(np.floor(y1 + (y2 - y1) * fraction).astype(int), 0, height - 1)
        columns = np.clip(np.floor(x1 + (x2 - x1) * fraction).astype(int), 0, width - 1)
        return whole[np.ix_(rows, columns)]
    scale = [side / (x2 - x1), side / (y2 - y1)]
    corners = [(np.reshape(p, [-1, 2]) - [x1, y1]) * scale for p in polygons(segmentation)]
    if max(np.abs(polygon).max() for polygon in corners) > _FARTHEST_CORNER:
        return box_mask(to_rle(segmentation, height, width), box, height, width, side)
    return coco_mask.decode(to_rle([polygon.ravel().tolist() for polygon in corners], side, side))


def polygons(segmentation: list) -> list[list[float]]:
    """The polygons that have three corners or more."""
    return [polygon for polygon in segmentation if len(polygon) >= _LEAST_NUMBERS]
