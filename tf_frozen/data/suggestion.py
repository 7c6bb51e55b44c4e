"""Suggests settings that follow the sizes of a data set's boxes, and computes them for `datasets/fit_to_boxes.gin`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import gin
import numpy as np

from tf_frozen.config.ranges import Frame
from tf_frozen.data.checks.annotations import Place
from tf_frozen.data.checks.boxes import is_object
from tf_frozen.data.checks.inspection import inspect
from tf_frozen.data.checks.rows import is_id, is_side
from tf_frozen.data.magnification import shown
from tf_frozen.data.sources import coco_file
from tf_frozen.errors import ConfigError

FIT = "datasets/fit_to_boxes.gin"
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
        return [f"FRAME = ({self.frame}, {self.frame})", f"ANCHOR_SCALE = {self.anchor_scale}"]


@gin.configurable
def suggested_frame(annotations: str, images: str, tiles: Any = None) -> tuple[int, int]:
    """Returns the (height, width) in pixels that `suggest` gives for a COCO JSON and its folder of images.

    Raises ConfigError where there are no boxes, or `tiles` to detect on: a frame is the size of a tile then.
    """
    if tiles is not None:
        raise ConfigError(
            "suggested_frame.tiles is not None: with tiles FRAME is their size, and does not follow from the sizes of "
            "boxes. Give it a value, such as FRAME = (512, 512)."
        )
    side = _frame(*_sizes_in(annotations, images, "FRAME"))
    return side, side


@gin.configurable
def suggested_anchor_scale(annotations: str, images: str, frame: Frame, tiles: Any = None) -> float:
    """Returns the side of anchors, in cells, that suits a COCO JSON whose images are fitted into `frame`.

    With `tiles` to detect on images have their `magnification` instead. Raises ConfigError where there are no boxes.
    """
    boxes, sizes = _sizes_in(annotations, images, "ANCHOR_SCALE")
    scales = [shown(frame, tiles and tiles.magnification, height, width) for width, height in sizes.tolist()]
    return _anchor_scale(_small(boxes, np.asarray(scales)))


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
    frame = _frame(boxes, images)
    small = _small(boxes, frame / np.max(images, axis=1))
    return Suggestion(frame, _anchor_scale(small), small)


def suggest_for(rows: Sequence[Any], places: Mapping[Any, Place]) -> Suggestion | None:
    """Suggests for the annotations of a COCO JSON; crowds and faulty rows do not count."""
    return suggest(*_sizes(rows, places))


def _frame(boxes: np.ndarray, images: np.ndarray) -> int:
    longest = np.max(images, axis=1)
    wanted = min(SMALL_OBJECT / _small(boxes, 1 / longest), _LARGEST_ENLARGEMENT * float(np.median(longest)))
    return min(max(_STEP * math.ceil(wanted / _STEP - 1e-6), _LEAST), _MOST)


def _small(boxes: np.ndarray, scales: np.ndarray) -> float:
    """Returns what a tenth of the boxes [n, 2] are smaller than, each enlarged by its scale [n]."""
    return float(np.percentile(np.sqrt(np.prod(boxes, axis=1, dtype=np.float64)) * scales, 10))


def _anchor_scale(small: float) -> float:
    fitting = (scale for scale in _ANCHOR_SCALES if scale * 2**_FINEST_LEVEL <= math.sqrt(2) * small)
    return next(fitting, _ANCHOR_SCALES[-1])


def _sizes_in(annotations: str, images: str, macro: str) -> tuple[np.ndarray, np.ndarray]:
    document = coco_file.read(annotations)
    rows = document["images"]
    if all(map(_is_sized, rows)):  # no image is opened
        places = {row["id"]: Place("", row["height"], row["width"]) for row in rows}
    else:
        places = inspect(annotations, images, "header").places
    boxes, sizes = _sizes(document["annotations"], places)
    if not len(boxes):
        raise ConfigError(f"{annotations} has no boxes whose sizes {macro} can follow. Give it a value.")
    return boxes, sizes


def _is_sized(row: Any) -> bool:
    """Whether a row of the list 'images' has an id and its size."""
    usable = isinstance(row, Mapping) and is_id(row.get("id"))
    return usable and all(row.get(key) is not None and is_side(row[key]) for key in ("height", "width"))


def _sizes(rows: Sequence[Any], places: Mapping[Any, Place]) -> tuple[np.ndarray, np.ndarray]:
    """Returns width and height of the objects' boxes [n, 2], and of the image that each is in [n, 2]."""
    pairs = [
        (row["bbox"][2:], (place.width, place.height))
        for row in rows
        if is_object(row)
        if (place := places.get(row.get("image_id")) if is_id(row.get("image_id")) else None) and place.height
    ]
    boxes, sizes = zip(*pairs, strict=True) if pairs else ((), ())
    return np.reshape(boxes, [-1, 2]), np.reshape(sizes, [-1, 2])
