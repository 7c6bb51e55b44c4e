"""The interface of an export: its files, the names of its outputs, and the detections on one image."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tf_frozen.export.masks import to_rles

CLASSES = os.path.join("assets.extra", "classes.json")
ABOUT = os.path.join("assets.extra", "tf_frozen.json")
# Names of `ImageDetector`'s outputs in a signature; masks only where the detector finds them.
OUTPUTS = {
    "boxes": "detection_boxes",
    "scores": "detection_scores",
    "classes": "detection_classes",
    "count": "num_detections",
    "masks": "detection_masks",
}


@dataclasses.dataclass(frozen=True)
class Detections:
    """The n objects found on one image, best score first.

    `boxes` float32 [n, 4] are y1, x1, y2, x2 in pixels of the image, and within it; `scores` float32 [n]; `classes`
    int32 [n], category ids of the data set; `image_size` is (height, width); `masks` float32 [n, h, w], where the
    detector finds them, the probability of the object at the centers of h × w equal cells of its box.
    """

    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray
    image_size: tuple[int, int]
    masks: np.ndarray | None = None

    @classmethod
    def of(
        cls,
        found: Mapping[str, np.ndarray],
        place: int,
        image_size: tuple[int, int],
        score_threshold: float = 0.0,
    ) -> Detections:
        """The objects of score >= `score_threshold` on the image at that place of what `ImageDetector` gave."""
        kept = np.flatnonzero(found["scores"][place, : found["count"][place]] >= score_threshold)
        names = [name for name in found if name != "count"]
        return cls(image_size=image_size, **{name: found[name][place, kept] for name in names})

    @functools.cached_property
    def segmentations(self) -> list[dict] | None:
        """COCO's RLEs of the masks, of the image's size; None where the detector finds no masks."""
        return None if self.masks is None else to_rles(self.masks, self.boxes, *self.image_size)

    def rows(self, image_id: int | str) -> list[dict]:
        """The objects as rows of a COCO results file, ready for JSON: bbox = [x, y, width, height]."""
        image_id = image_id.item() if isinstance(image_id, np.generic) else image_id
        found = (np.asarray(values).tolist() for values in (np.float64(self.boxes), self.scores, self.classes))
        rows = [
            {"image_id": image_id, "category_id": category, "bbox": [x1, y1, x2 - x1, y2 - y1], "score": score}
            for (y1, x1, y2, x2), score, category in zip(*found, strict=True)
        ]
        if self.segmentations is None:
            return rows
        return [{**row, "segmentation": rle} for row, rle in zip(rows, self.segmentations, strict=True)]


def to_outputs(found: Mapping[str, Any]) -> dict[str, Any]:
    """Renames the output of `ImageDetector` to the names of the signature."""
    return {OUTPUTS[name]: value for name, value in found.items()}


def from_outputs(outputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The values of a signature's outputs, under the names of `ImageDetector`."""
    return {name: np.asarray(outputs[key]) for name, key in OUTPUTS.items() if key in outputs}


def check_signature(detect: Callable) -> None:
    """Raises ValueError unless a signature takes images and gives detections, masks or not."""
    inputs, outputs = set(detect.structured_input_signature[1]), set(detect.structured_outputs)
    missing = {"images"} - inputs | set(OUTPUTS.values()) - {OUTPUTS["masks"]} - outputs
    if missing:
        raise ValueError(f"its signature lacks {', '.join(sorted(missing))}")
