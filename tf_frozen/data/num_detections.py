"""Computes how many detections an image needs from the number of objects in the training images."""

from __future__ import annotations

import collections
import math
from collections.abc import Iterable
from typing import Any

import gin
import numpy as np

from tf_frozen.config.checked import checked
from tf_frozen.config.ranges import Frame, PositiveFloat, PositiveInt
from tf_frozen.data.checks.boxes import is_object
from tf_frozen.data.sources import coco_file
from tf_frozen.errors import ConfigError

LEAST = 100  # COCO's own limit
MOST = 1000
_HEADROOM = 1.5
_STEP = 100
_CELLS = 4  # of a grid, a side of the window


@gin.configurable
@checked
def num_detections(
    annotations: str,
    least: PositiveInt = LEAST,
    most: PositiveInt = MOST,
    frame: Frame | None = None,
    magnification: PositiveFloat = 1.0,
) -> int:
    """Returns the detections an image for the data of a COCO JSON: half as many again as the most objects an image has.

    Crowds and faulty boxes do not count.

    Args:
      annotations: path of the JSON, or 'embedded:...'.
      least: the fewest.
      most: the most, whatever the data have: the memory and time of detection grow with the number.
      frame: (height, width) of the tiles that images are cut into; the objects of a tile count then, and not those of
        an image.
      magnification: of the images before they are cut.

    Raises:
      DataError: the file cannot be read as a COCO JSON.
      ConfigError: an argument is out of its range, or `most` is below `least`.
    """
    if most < least:
        raise ConfigError(f"num_detections.most is {most}, which is below num_detections.least, {least}.")
    window = frame and tuple(side / magnification for side in frame)
    return detections_for(most_objects(coco_file.read(annotations)["annotations"], window), least, most)


def detections_for(objects: int, least: int = LEAST, most: int = MOST) -> int:
    """Returns half as many again as `objects`, rounded up to a hundred, from `least` to `most`."""
    return min(max(_STEP * math.ceil(_HEADROOM * objects / _STEP), least), most)


def most_objects(rows: Iterable[Any], window: tuple[float, float] | None = None) -> int:
    """Returns the most objects of the list 'annotations' of a COCO JSON that an image, or a window of it, may have.

    Objects are where their centres are. `window` is (height, width) in pixels of the image; the number is then a
    bound, the most in any place of a grid that is up to a quarter larger in height and width.
    """
    centres = collections.defaultdict(list)
    for row in rows:
        if is_object(row):
            x, y, width, height = row["bbox"]
            centres[str(row.get("image_id"))].append((y + height / 2, x + width / 2))
    count = len if window is None else lambda points: _most_in_window(np.asarray(points), window)
    return max(map(count, centres.values()), default=0)


def _most_in_window(points: np.ndarray, window: tuple[float, float]) -> int:
    """Returns the most of the points [n, 2] in any block of the grid's cells that can hold a window."""
    cells = np.floor(points / (np.asarray(window) / _CELLS)).astype(np.int64)
    counts = collections.Counter(map(tuple, cells.tolist()))
    blocks = collections.Counter()
    for (row, column), count in counts.items():
        for up in range(_CELLS + 1):
            for left in range(_CELLS + 1):
                blocks[row - up, column - left] += count
    return max(blocks.values())
