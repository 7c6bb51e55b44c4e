"""Suggests settings that follow the sizes of a data set's boxes, as gin bindings to copy."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tf_frozen.data.checks.annotations import Place

SMALL_OBJECT = 24  # px in the frame that the smallest tenth of objects should have: three cells of level 3
_LEAST, _MOST, _STEP = 320, 1024, 64
_LARGEST_ENLARGEMENT = 4.0  # of the median image; beyond it there is nothing more to see
_FINEST_LEVEL = 3
_ANCHOR_SCALES = (4.0, 2.0, 1.0)


class Suggestion(NamedTuple):
    """A frame and anchors for boxes of known sizes."""

    frame: int
    """Height and width in pixels that images are fitted into."""
    anchor_scale: float
    """The side of an anchor in cells of its level."""
    small_object: float
    """Pixels in that frame that a tenth of the objects are smaller than, √(height·width)."""

    @property
    def gin_params(self) -> list[str]:
        """The settings as gin bindings."""
        return [f"FRAME = ({self.frame}, {self.frame})", f"RegionProposal.anchor_scale = {self.anchor_scale}"]

    def __str__(self) -> str:
        lines = "".join(f"\n  --gin_param '{param}'" for param in self.gin_params)
        return f"For boxes of these sizes (a tenth of them are below {self.small_object:.0f} px then):{lines}"


def suggest(boxes: np.ndarray, images: np.ndarray) -> Suggestion | None:
    """Suggests a frame and anchors for n boxes; None where there are none.

    Args:
      boxes: [n, 2], width and height of each box in pixels of its image.
      images: [n, 2], width and height of the image that each box is in.

    Returns:
      The smallest frame in which nine objects of ten are of 24 pixels or more, from 320 to 1024 in steps of 64, and
      the largest anchors of which the smallest are no larger than the smallest tenth of objects, by up to √2.
    """
    if not len(boxes):
        return None
    longest = np.max(images, axis=1)
    small = float(np.percentile(np.sqrt(np.prod(boxes, axis=1, dtype=np.float64)) / longest, 10))
    wanted = min(SMALL_OBJECT / small, _LARGEST_ENLARGEMENT * float(np.median(longest)))
    frame = min(max(_STEP * math.ceil(wanted / _STEP - 1e-6), _LEAST), _MOST)
    fitting = (scale for scale in _ANCHOR_SCALES if scale * 2**_FINEST_LEVEL <= math.sqrt(2) * small * frame)
    return Suggestion(frame, next(fitting, _ANCHOR_SCALES[-1]), small * frame)


def suggest_for(rows: Sequence[Mapping[str, Any]], places: Mapping[Any, Place]) -> Suggestion | None:
    """Suggests for the annotations of a COCO JSON, whose rows are without fault; crowds do not count."""
    rows = [row for row in rows if row.get("iscrowd") != 1]
    images = [places[row["image_id"]] for row in rows]
    sizes = [(image.width, image.height) for image in images]
    return suggest(np.reshape([row["bbox"][2:] for row in rows], [-1, 2]), np.reshape(sizes, [-1, 2]))
