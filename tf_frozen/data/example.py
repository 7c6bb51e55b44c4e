"""An image of a data set and its objects."""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Example:
    """One image and its boxes [n, 4] = [y1, x1, y2, x2], float32 pixels of the image as displayed, inside it.

    `height` and `width` are as displayed, after EXIF `orientation` 1..8; `classes` is int32 [n] in 1..K and
    `crowd` bool [n]. `segmentations` are the JSON's n polygons or RLEs, None where only boxes are learnt.
    """

    image_id: int | str
    path: str
    height: int
    width: int
    orientation: int
    boxes: np.ndarray
    classes: np.ndarray
    crowd: np.ndarray
    annotation_ids: list[int | str]
    segmentations: list | None = None
