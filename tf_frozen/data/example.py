"""An image of a data set and its objects."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np


@dataclasses.dataclass(frozen=True)
class Example:
    """One image and its boxes [n, 4] = [y1, x1, y2, x2], float32 pixels of the image as displayed, inside it.

    `height` and `width` are as displayed, after EXIF `orientation` 1..8; `classes` is int32 [n] in 1..K and `crowd`
    bool [n], all False if None. `segmentations` are n polygons or RLEs as in a COCO JSON, None where there are only
    boxes; `annotation_ids` are the n ids of the data set, if it has any.
    """

    image_id: int | str
    height: int
    width: int
    boxes: np.ndarray
    classes: np.ndarray
    crowd: np.ndarray | None = None
    orientation: int = 1
    segmentations: Sequence | None = None
    annotation_ids: Sequence[int | str] | None = None

    def __post_init__(self):
        """Converts sequences to arrays; raises ValueError or TypeError where that cannot be."""
        boxes = np.asarray(self.boxes, np.float32)
        crowd = np.zeros(len(boxes), bool) if self.crowd is None else np.asarray(self.crowd, bool)
        values = {"boxes": boxes if boxes.size else boxes.reshape([0, 4]), "crowd": crowd}
        for name, value in {**values, "classes": np.asarray(self.classes, np.int32)}.items():
            object.__setattr__(self, name, value)
