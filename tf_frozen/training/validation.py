"""Scores of the val split while a run trains: how often, and on how many images."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import gin

from tf_frozen.config.checked import Checked
from tf_frozen.config.ranges import PositiveInt

_TIMES = 10
_FEWEST_STEPS = 50
_FEWEST_IMAGES = 8


@gin.configurable
class Validation(Checked):
    """Scores a run on part of the val split while it trains, keeps the best checkpoint and stops early.

    A score takes `images` of the split, without test-time augmentation. None means one for every ten images trained on
    since the last score, at least eight, so that scoring takes a small part of the time. With `keep_best` the best
    checkpoint by these scores is kept, and the run ends with it. With `patience` training stops after that many scores
    in a row without a better one. Raises ConfigError for values out of range.
    """

    def __init__(self, images: PositiveInt | None = None, keep_best: bool = True, patience: PositiveInt | None = None):
        self.images, self.keep_best, self.patience = images, keep_best, patience

    def interval(self, every: int | None, steps: int) -> int:
        """The steps from one score to the next in a run of `steps`, 0 for none: `every`, or for None a tenth.

        A tenth of a short run, below 50 steps, is not worth a score.
        """
        every = max(math.ceil(steps / _TIMES), _FEWEST_STEPS) if every is None else every
        return every if every < steps else 0

    def images_of(self, interval: int, batch_size: int, available: int) -> int:
        """Returns how many of the `available` val images a score takes."""
        share = max(interval * batch_size // 10, _FEWEST_IMAGES) if self.images is None else self.images
        return min(share, available)

    def exhausted(self, record: Mapping[str, Any] | None) -> bool:
        """Whether patience is exhausted by the record of the best checkpoint."""
        return self.patience is not None and record is not None and record["since"] >= self.patience
