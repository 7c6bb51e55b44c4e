"""The magnification of images in training, and a warning for images that are detected at another one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tf_frozen.data.pipeline import TrainBatches

FACTOR = 1.5  # how far beyond the range trained on an image may be without a warning
_ADVICE = (
    "Give images of the size trained on, or train and detect at a fixed magnification: augmentation/native_scale.gin."
)
_TAILS = (5, 95)  # percentiles: a few odd images widen no range


def of_training(batches: TrainBatches) -> dict[str, Any]:
    """The magnification of training images, in frame pixels for an image pixel, as JSON has it.

    `median`, `low` and `high` are those of the images as fitted, times the range that the placement draws from, which
    its method `scale_range` gives; `object_side` has the square root of the area of boxes, in frame pixels. `low` and
    `high` are the 5th and 95th percentile. Empty without images.
    """
    examples = batches.source.examples
    if not examples:
        return {}
    sizes = np.float64([(example.height, example.width) for example in examples])
    scale_range = getattr(batches.placement, "scale_range", None)
    fill = np.min(np.divide(batches.frame if scale_range else batches.crop, sizes), 1)
    low, high = scale_range(fill) if scale_range else (fill, fill)
    middle = (low + high) / 2
    objects = [
        scale * np.sqrt(np.prod(example.boxes[:, 2:] - example.boxes[:, :2], 1))
        for scale, example in zip(middle, examples, strict=True)
    ]
    sides = np.concatenate(objects)
    return {
        "unit": "frame pixels for an image pixel",
        **_spread(low, middle, high),
        **({"object_side": _spread(sides, sides, sides)} if len(sides) else {}),
    }


def shown(frame: tuple[int, int], tiles: float | None, height: int, width: int) -> float:
    """Frame pixels for a pixel of an image that is fitted into the frame, or cut into tiles of a magnification."""
    return tiles or min(frame[0] / height, frame[1] / width)


class MagnificationCheck:
    """Counts the images whose magnification is outside the range of training by more than FACTOR.

    `trained` is what `of_training` gave, or None where that is unknown and nothing is counted; `tiles` is the
    magnification of tiles, None where images are fitted into the frame.
    """

    def __init__(self, trained: Mapping[str, Any] | None, frame: tuple[int, int], tiles: float | None = None):
        self._trained, self._frame, self._tiles = trained or {}, frame, tiles
        self._images, self._beyond, self._first = 0, 0, ""

    def add(self, name: str, height: int, width: int) -> str | None:
        """Counts an image of that size in pixels; returns what to tell the user if it is the first beyond the range."""
        self._images += 1
        value = shown(self._frame, self._tiles, height, width)
        low, high = self._trained.get("low", value), self._trained.get("high", value)
        if low / FACTOR <= value <= high * FACTOR:
            return None
        self._beyond += 1
        if self._first:
            return None
        smaller = value < low
        gap = f"{low / value if smaller else value / high:.1f} times {'smaller' if smaller else 'larger'}"
        self._first = (
            f"{name} ({height} × {width}) has {value:.3g} frame pixels for an image pixel, training had {low:.3g} to "
            f"{high:.3g}: its objects appear {gap} than any trained on"
        )
        return f"{self._first}, and may be missed. {_ADVICE}"

    @property
    def count(self) -> str | None:
        """Returns a message with the number of images outside the range, None if there are none."""
        if not self._beyond:
            return None
        return f"{self._beyond} of {self._images} images are shown at another magnification than those trained on"

    @property
    def warning(self) -> str | None:
        """All there is to tell the user, None where all images are within the range."""
        return self.count and f"{self.count}, and objects may be missed. The first, {self._first}. {_ADVICE}"


def _spread(low: np.ndarray, middle: np.ndarray, high: np.ndarray) -> dict[str, float]:
    values = {"median": np.median(middle), "low": np.percentile(low, _TAILS[0]), "high": np.percentile(high, _TAILS[1])}
    return {name: float(f"{value:.6g}") for name, value in values.items()}
