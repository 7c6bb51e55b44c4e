"""Reports before the first step: the data, warnings, what trains, and its cost."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import gin
import numpy as np

from tf_frozen.data.example import Example
from tf_frozen.data.magnification import MagnificationCheck
from tf_frozen.data.pipeline import TrainBatches
from tf_frozen.data.reading import named
from tf_frozen.data.source import DataSource
from tf_frozen.data.summary import summary_of
from tf_frozen.data.summary import table as summary_table
from tf_frozen.detectors.detector import Detector
from tf_frozen.feature_cache.cached_batches import CachedBatches
from tf_frozen.freezing.advice import advice, advice_on_batch
from tf_frozen.freezing.policy import table as policy_table
from tf_frozen.freezing.savings import savings, table
from tf_frozen.progress import duration
from tf_frozen.training.expected_time import expected_seconds
from tf_frozen.training.phases import Phases

_LOGGER = logging.getLogger(__name__)
_MANY = 0.05  # a share of objects that is worth a warning


def log_data(train_data: DataSource, val_data: DataSource, detector: Detector) -> None:
    """Logs a summary of the data, in which objects have their size in the frame of the detector, or on its tiles."""
    splits = {"train": train_data, "val": val_data}
    network = detector.frame, detector.detections, detector.tiles and detector.tiles.magnification
    summaries = {name: summary_of(data, *network) for name, data in splits.items()}
    _LOGGER.info("%s", summary_table(summaries))


def advise(detector: Detector, batches: TrainBatches | CachedBatches, step: int, train_steps: int) -> None:
    """Warns of what the paper and the first batch say against the configuration; FreezeError for a mistake."""
    lines = advice(detector, train_steps)
    if not step and not isinstance(batches, CachedBatches):  # a cache's images were inspected when it was made
        with named(batches.source):
            images, targets = next(iter(batches.dataset(0, 1)))
        lines += advice_on_batch(detector, images, targets["image_size"])
    for line in lines:
        _LOGGER.warning("%s", line)


def check_magnification(trained: Mapping[str, Any] | None, detector: Detector, val_data: DataSource) -> None:
    """Warns of val images that are shown much smaller or larger than those trained on: see MagnificationCheck."""
    check = MagnificationCheck(trained, detector.frame, detector.tiles and detector.tiles.magnification)
    for index, example in enumerate(val_data.examples):
        check.add(val_data.describe(index), example.height, example.width)
    if check.warning:
        _LOGGER.warning("%s", check.warning)


def check_tiles(detector: Detector, data: DataSource) -> None:
    """Warns where one object in twenty or more, of images that tiles cut, is too large to be found whole on tiles."""
    if not detector.tiles:
        return
    frame, magnification = np.float64(detector.frame), detector.tiles.magnification
    whole = np.float64(detector.tiles.whole(detector.frame))
    cut = np.concatenate([np.zeros([0, 2]), *(_cut_sides(example, frame / magnification) for example in data.examples)])
    large = np.sum(np.any(cut > whole, axis=1))
    if large > _MANY * len(cut):
        _LOGGER.warning(
            f"{large} of {len(cut)} objects of {data} are larger than {whole[0]:.0f} × {whole[1]:.0f} "
            f"pixels, and may be found in parts on tiles: {detector.tiles.overlap:.0%} of the frame, less a margin, is "
            f"what neighbours share, at magnification {magnification:g}. Raise Tiles.overlap, up to 0.5, or FRAME, or "
            "lower MAGNIFICATION."
        )


def _cut_sides(example: Example, tile: np.ndarray) -> np.ndarray:
    """Height and width [n, 2] of an image's n objects, 0 on an axis where one tile, in its pixels, holds the image."""
    boxes = example.boxes[~example.crowd]
    return (boxes[:, 2:] - boxes[:, :2]) * (np.float64([example.height, example.width]) > tile)


def log_changes(before: Sequence[str]) -> None:
    """Warns of what the configuration has and the lines `before` lacked, '+ NAME = value', and the other way, '-'."""
    now = gin.config_str(max_line_length=110).splitlines()
    changed = (line for line in difflib.ndiff(before, now) if line[0] in "-+")
    changes = [line for line in changed if line[2:3] not in ("", "#") and line[2:9] != "import "]
    if changes:
        _LOGGER.warning("The configuration differs from that of the run so far:\n  %s", "\n  ".join(changes))


def check_until(until: int | None, train_steps: int) -> None:
    """Warns of a second phase that the run does not reach."""
    if (until or 0) >= train_steps:
        _LOGGER.warning(
            f"Policy.until is {until}, which this run of {train_steps} steps does not reach: the rules of Policy.rules "
            "hold to its end."
        )


def log_phase(phases: Phases, detector: Detector, checkpoints: str) -> dict[str, Any]:
    """Logs what trains in the present phase; logs and returns `savings`, for checkpoints that hold `checkpoints`."""
    costs = savings(detector, detector.optimizer, checkpoints=checkpoints)
    _LOGGER.info("%s", table(costs))
    _LOGGER.info("What trains from step %d on:\n%s\n", phases.begin, policy_table(phases.decisions))
    return costs


def log_time(
    detector: Detector, costs: Mapping[str, Any], batches: TrainBatches | CachedBatches, steps: int, batch_size: int
) -> None:
    """Logs the expected time of the next `steps` steps; `costs` are those of `savings`."""
    cached = isinstance(batches, CachedBatches)
    seconds = expected_seconds(detector, costs, batches.crop, steps * batch_size, cached)
    if seconds is not None:
        _LOGGER.info(
            "The next %d steps may take %s, by their multiply-adds and the speed of the backbone here; the time left, "
            "as measured, follows.\n",
            steps,
            duration(seconds),
        )
