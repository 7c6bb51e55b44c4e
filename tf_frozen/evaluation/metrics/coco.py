"""COCO's average precision and recall, of boxes, and of boxes and masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import gin

from tf_frozen.config.checked import Checked
from tf_frozen.config.ranges import PositiveInt
from tf_frozen.evaluation import coco
from tf_frozen.evaluation.metric import Figures, Metric

_MEANINGS = {
    "AP": "average precision, mean of IoU 0.50 to 0.95",
    "AP50": "average precision at IoU 0.50",
    "AP75": "average precision at IoU 0.75",
    "APs": "AP of small objects, below 32 x 32 px",
    "APm": "AP of medium objects",
    "APl": "AP of large objects, above 96 x 96 px",
    "AR1": "recall with 1 box an image",
    "AR10": "recall with 10 boxes an image",
    "AR100": "recall with 100 boxes an image",
    "ARs": "AR100 of small objects",
    "ARm": "AR100 of medium objects",
    "ARl": "AR100 of large objects",
    "AP@n": "average precision with n boxes an image",
    "AR@n": "recall with n boxes an image",
}


@gin.configurable
class CocoBoxes(Checked, Metric):
    """COCO's twelve figures of boxes.

    `headline` is the one by which the best checkpoint is chosen. Where an image may have more `detections` than the
    100 that COCO counts, or has more, AP and AR of all of them are given too.
    """

    names: Sequence[str] = coco.METRICS
    meanings: Mapping[str, str] = _MEANINGS

    def __init__(self, headline: str = "AP", detections: PositiveInt | None = None):
        self.headline, self.detections = headline, detections

    def evaluate(self, ground_truth: dict, detections: Sequence[dict]) -> tuple[Figures, list[dict]]:
        """Returns what `coco.evaluate` does; DataError where the ground truth or a row is malformed."""
        return coco.evaluate(ground_truth, detections, self.needs_masks, self.detections)


@gin.configurable
class CocoMasks(CocoBoxes):
    """COCO's twelve figures of boxes, and those of masks, each named mask_."""

    names = coco.METRICS + coco.MASK_METRICS
    meanings = _MEANINGS | {
        f"mask_{name}": f"masks: {meaning.replace('boxes', 'masks').replace('box', 'mask')}"
        for name, meaning in _MEANINGS.items()
    }
    needs_masks = True
