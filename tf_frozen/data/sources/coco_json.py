"""A COCO JSON with its folder of images as a data source, checked as a whole."""

from __future__ import annotations

import collections
import logging
import os
from collections.abc import Sequence, Set
from typing import Any

import gin
import numpy as np

from tf_frozen.config.checked import Checked
from tf_frozen.config.ranges import PositiveFraction, Seed
from tf_frozen.data import paths
from tf_frozen.data.category import Category
from tf_frozen.data.checks.inspection import Header, Inspection, inspect
from tf_frozen.data.checks.rows import check_categories
from tf_frozen.data.example import Example
from tf_frozen.data.faults import Fault, describe
from tf_frozen.data.sources import coco_file
from tf_frozen.data.sources.image_files import ImageFiles
from tf_frozen.errors import DataError
from tf_frozen.files import absolute

_logger = logging.getLogger(__name__)
_FAULTS_SHOWN = 20
_WARNINGS_SHOWN = 8
_OF_ONE_BOX = ("malformed_box", "non_finite_box", "box_without_area", "box_outside_image")
_OF_ONE_MASK = ("missing_segmentation", "malformed_segmentation", "segmentation_outside_box")


@gin.configurable
class CocoJson(Checked, ImageFiles):
    """A data set whose every image and annotation has been checked.

    `examples` are in the order of the JSON, `categories` by id: class k is `categories[k - 1]`.
    """

    def __init__(
        self,
        annotations: str | os.PathLike,
        images: str | os.PathLike,
        check: str = "decode",
        drop_faulty_boxes: bool = False,
        clip_boxes: bool = False,
        masks: bool = False,
        fraction: PositiveFraction = 1.0,
        seed: Seed = 0,
    ):
        """Reads and checks everything; raises DataError with all faults, ConfigError for an impossible fraction.

        Args:
          annotations: path of a COCO detection JSON, or 'embedded:...'.
          images: the folder that its file names start from, or 'embedded:...'.
          check: 'decode' decodes every image once, 'header' reads only size and format.
          drop_faulty_boxes: leave out boxes that are faulty in themselves (no area, outside the image, NaN; with
            `masks`, no usable segmentation) and log how many, where otherwise DataError is raised; public data sets
            hold a few.
          clip_boxes: clip boxes that reach beyond their images to them, examples' and ground truth's, and log how many,
            where otherwise a box more than a pixel beyond is faulty.
          masks: every annotation must have a usable segmentation, and the examples keep it.
          fraction: the part of the images, above 0 and up to 1, that is kept, at least one; the paper's ablation of
            the data's size. What a seed keeps of 10 % is among what it keeps of 25 %. Categories stay.
          seed: decides which.
        """
        annotations, images = os.fspath(annotations), os.fspath(images)
        inspection = inspect(annotations, images, check, masks, clip_boxes)
        to_drop = (*_OF_ONE_BOX, *_OF_ONE_MASK) if drop_faulty_boxes else ()
        dropped = [fault for fault in inspection.faults if fault.kind in to_drop]
        faults = [fault for fault in inspection.faults if fault.kind not in to_drop]
        without = set() if faults else {fault.annotation_id for fault in dropped}
        if faults or len(without) == len(inspection.document["annotations"]):
            raise DataError(_explain(faults or dropped, annotations, images), faults or dropped)
        if dropped:
            _logger.warning("Excluded %d faulty boxes of %s", len(without), annotations)
        if inspection.warnings:
            _logger.warning("%s\n%s", annotations, describe(inspection.warnings, _WARNINGS_SHOWN))
        # All arguments are kept: a run writes them to its config.gin.
        self.annotations, self.images, self.check = absolute(annotations), absolute(images), check
        self.drop_faulty_boxes, self.clip_boxes, self.masks = drop_faulty_boxes, clip_boxes, masks
        self.fraction, self.seed = fraction, seed
        self._document = inspection.document
        kept = _subset(len(inspection.files), fraction, seed)
        self._images = [inspection.document["images"][index] for index in kept]
        ids = {image["id"] for image in self._images}
        rows = inspection.document["annotations"]
        beyond = {warning.annotation_id for warning in inspection.warnings if warning.kind == "clipped_box"}
        self._rows = [row for row in rows if row["id"] not in without and row["image_id"] in ids]
        categories = _categories(inspection.document)
        examples = _examples(inspection, kept, self._rows, categories, masks)
        super().__init__(examples, categories, [inspection.files[index] for index in kept])
        if beyond:
            self._clip_rows(beyond)

    def _clip_rows(self, beyond: Set[int | str]) -> None:
        """Gives the rows of these annotations the boxes that their examples have."""
        clipped = {
            number: [float(x1), float(y1), float(x2 - x1), float(y2 - y1)]
            for example in self.examples
            for number, (y1, x1, y2, x2) in zip(example.annotation_ids, example.boxes, strict=True)
            if number in beyond
        }
        self._rows = [_with_box(row, clipped[row["id"]]) if row["id"] in clipped else row for row in self._rows]

    @property
    def ground_truth(self) -> dict[str, Any]:
        """The JSON for scoring, optional fields filled in; its rows are shared, do not change them."""
        images = [
            _filled(row, {"height": example.height, "width": example.width})
            for row, example in zip(self._images, self.examples, strict=True)
        ]
        annotations = [_filled(row, {"iscrowd": 0, **self._area(row)}) for row in self._rows]
        return {"info": {}, **self._document, "images": images, "annotations": annotations}

    def __str__(self) -> str:
        return paths.resolve(self.annotations)

    def _area(self, row: dict[str, Any]) -> dict[str, float]:
        """The box's area; where masks are scored, theirs stands in for one that is missing."""
        return {} if self.masks else {"area": row["bbox"][2] * row["bbox"][3]}


@gin.configurable
def num_classes(annotations: str) -> int:
    """Returns the number of categories of a COCO JSON; raises DataError if it or they are faulty."""
    document = coco_file.read(annotations)
    found = check_categories(document["categories"], paths.resolve(annotations))
    faults = [fault for fault in found if not fault.is_warning]
    if faults:
        raise DataError(describe(faults, _FAULTS_SHOWN), faults)
    return len(document["categories"])


def _categories(document: dict[str, Any]) -> list[Category]:
    return sorted(Category(row["id"], str(row["name"])) for row in document["categories"])


def _subset(count: int, fraction: float, seed: int) -> list[int]:
    """The positions, in order, of this fraction of `count` images."""
    order = np.random.default_rng(seed).permutation(count)
    return sorted(order[: max(1, round(fraction * count))].tolist())


def _examples(
    inspection: Inspection,
    kept: Sequence[int],
    rows: Sequence[dict],
    categories: Sequence[Category],
    masks: bool,
) -> list[Example]:
    of_image = collections.defaultdict(list)
    for row in rows:
        of_image[row["image_id"]].append(row)
    class_of = {category.id: index + 1 for index, category in enumerate(categories)}
    ids = [image["id"] for image in inspection.document["images"]]
    images = [(ids[index], inspection.headers[index]) for index in kept]
    return [_example(number, header, of_image[number], class_of, masks) for number, header in images]


def _example(
    image_id: int | str, header: Header, rows: Sequence[dict], class_of: dict[int, int], masks: bool
) -> Example:
    x, y, w, h = np.asarray([row["bbox"] for row in rows], np.float64).reshape([-1, 4]).T
    corners = np.stack([y, x, y + h, x + w], axis=-1)
    return Example(
        image_id=image_id,
        height=header.height,
        width=header.width,
        orientation=header.orientation,
        boxes=np.clip(corners, 0, [header.height, header.width] * 2).astype(np.float32),
        classes=np.asarray([class_of[row["category_id"]] for row in rows], np.int32),
        crowd=np.asarray([row.get("iscrowd") == 1 for row in rows], bool),
        annotation_ids=[row["id"] for row in rows],
        segmentations=[row["segmentation"] for row in rows] if masks else None,
    )


def _with_box(row: dict[str, Any], box: list[float]) -> dict[str, Any]:
    """Returns a copy of the row with another box; an area that was the box's goes, one of a mask stays."""
    area = row.get("area")
    of_box = area is not None and np.isclose(area, row["bbox"][2] * row["bbox"][3])
    return {key: value for key, value in row.items() if key != "area" or not of_box} | {"bbox": box}


def _filled(row: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    """Returns the row itself if it holds all of `defaults`, else a copy: large files are not doubled."""
    missing = {key: value for key, value in defaults.items() if row.get(key) is None}
    return {**row, **missing} if missing else row


def _explain(faults: Sequence[Fault], annotations: str, images: str) -> str:
    count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
    text = f"{annotations} with the images of {images} has {count}.\n{describe(faults, _FAULTS_SHOWN)}"
    return text if len(faults) <= _FAULTS_SHOWN else f"{text}\nThe command tf-frozen check-data lists all of them."
