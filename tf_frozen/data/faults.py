"""Faults of annotations and images: their kinds, one fault, and the text that lists many."""

from __future__ import annotations

import collections
import dataclasses
import math
import reprlib
from collections.abc import Sequence
from typing import Any, NamedTuple

_CONVENTION = "A box is [x, y, width, height] in pixels; x and y are its top left corner."

# Every kind of fault, with advice. Boxes in faults are as in the JSON.
_FAULTS = {
    "missing_json": "Correct the path.",
    "missing_embedded": "Correct the name after 'embedded:'.",
    "broken_json": "Fix the file at that place, or export it again.",
    "not_coco": "Export the annotations as COCO detection JSON: an object with three lists, 'images',"
    " 'annotations' and 'categories'.",
    "no_images": "Add the images to the list 'images'.",
    "no_categories": "Add at least one, such as {'id': 1, 'name': 'tree'}.",
    "no_boxes": "Draw at least one box, or set iscrowd to 0 where an annotation is one object: without boxes there is"
    " nothing to train on or to score.",
    "missing_images_folder": "Correct the path of the images; it is the folder that file names start from.",
    "malformed_image": "An image needs 'id' (an int of 64 bits or a str) and 'file_name'; 'width' and 'height'"
    " are integers, in pixels.",
    "malformed_category": "A category needs 'id' (an int of 32 bits) and 'name' (a str).",
    "malformed_annotation": "An annotation needs 'id', 'image_id', 'category_id' and 'bbox'; 'iscrowd' is 0"
    " or 1, 'area' a number.",
    "duplicate_image_id": "Give every image its own id, and correct the annotations that point to it.",
    "duplicate_image_file": "List every file once, and give all its annotations that image_id: where a file is shown,"
    " the objects of its other rows count as background.",
    "duplicate_category_id": "Give every category its own id.",
    "duplicate_category_name": "Delete the one that no annotation has, or give every category its own name.",
    "duplicate_annotation_id": "Give every annotation its own id; merged files often need new numbers.",
    "unknown_image_id": "Add the image to 'images', correct the image_id, or delete the annotation.",
    "unknown_category_id": "Add it to 'categories', correct the category_id, or delete the annotation.",
    "malformed_box": "A box is four numbers, [x, y, width, height], in pixels.",
    "non_finite_box": "Draw the box again, or delete the annotation.",
    "box_without_area": "Draw the box again, or delete the annotation. A box is [x, y, width, height].",
    "box_outside_image": "Correct the box, or delete the annotation. A box is [x, y, width, height] in pixels"
    " from the top left corner, not two corners. CocoJson.clip_boxes = True clips boxes that are only partly outside.",
    "normalized_boxes": "Give boxes in pixels: multiply x and width by the image's width, y and height by its height.",
    "other_box_convention": f"Convert the boxes. {_CONVENTION}",
    "missing_segmentation": "Draw the object's outline, or delete the annotation; a detector of boxes alone needs none"
    " (CocoJson.masks = False).",
    "malformed_segmentation": "A segmentation is a list of polygons [x1, y1, x2, y2, ...] in pixels, or an RLE"
    " {'size': [height, width], 'counts': ...} of the whole image.",
    "segmentation_outside_box": "Make the box enclose the segmentation, or draw one of them again.",
    "missing_image": "Put the file into the folder of images, or correct its file_name.",
    "unreadable_image": "Replace the file, or save it again as JPEG or PNG.",
    "truncated_image": "The end of the file is missing: copy or download it again.",
    "unsupported_image": "Save it as JPEG, PNG, WebP, GIF or 24-bit BMP.",
    "sixteen_bit_image": "Scale its values to 0-255 and save it with 8 bits a channel; only you know which"
    " range of values matters.",
    "image_too_large": "Cut it into tiles, with the boxes of each.",
    "malformed_example": "An Example has a unique image_id, boxes [n, 4] = [y1, x1, y2, x2] in pixels within its"
    " image, y1 < y2 and x1 < x2, and classes [n] from 1 to the number of categories.",
    "changed_image": "Put the image back that its boxes were drawn on.",
    "size_mismatch": "Correct width and height in the JSON, and make sure that the boxes fit the image.",
}

# Possible mistakes that may be intended.
_WARNINGS = {
    "suspected_box_convention": f"Convert the boxes if it is so. {_CONVENTION}",
    "some_normalized_boxes": "Correct these boxes, or delete the annotations. A box is in pixels.",
    "clipped_box": "Training uses the part of the object within the image.",
    "duplicate_annotation": "Delete one of them: such an object counts twice, in training and in scores.",
    "similar_category_names": "Merge them if they mean the same.",
    "moved_image": "Check that these are the right images, then correct the file_name or the folder of images.",
}
ADVICE = _FAULTS | _WARNINGS

_MOST_CHARACTERS = 80
_short_repr = reprlib.Repr()  # it stops at a depth, as JSON of a thousand brackets needs
_short_repr.maxlist = _short_repr.maxdict = 20
_short_repr.maxstring = _short_repr.maxother = _short_repr.maxlong = _MOST_CHARACTERS


class Problem(NamedTuple):
    """A kind of fault and what was found, without the place."""

    kind: str
    message: str


@dataclasses.dataclass(frozen=True)
class Fault:
    """One fault or warning; `file` is the image, or the JSON if no image is concerned; `box` is as in the JSON."""

    kind: str
    file: str
    image_id: Any = None
    annotation_id: Any = None
    box: Any = None
    message: str = ""

    @property
    def is_warning(self) -> bool:
        """Whether the data can still be used."""
        return self.kind in _WARNINGS

    @property
    def advice(self) -> str:
        """Advice on how to fix it."""
        return ADVICE[self.kind]

    def as_dict(self) -> dict[str, Any]:
        """Returns the fault for strict JSON: numbers that are not finite become None."""
        fields = {field.name: _strict(getattr(self, field.name)) for field in dataclasses.fields(self)}
        return {**fields, "message": f"{_sentence(self.message)} {self.advice}"}

    def __str__(self) -> str:
        where = [self.file]
        where += [f"image {_short(self.image_id)}"] if self.image_id is not None else []
        where += [f"annotation {_short(self.annotation_id)}"] if self.annotation_id is not None else []
        where += [f"box {_short(self.box)}"] if self.box is not None else []
        text = f"{', '.join(where)}: {self.message}"
        return text.encode("utf-8", "backslashreplace").decode()  # paths and ids can hold what no terminal shows


def describe(faults: Sequence[Fault], limit: int | None = None) -> str:
    """Returns text that lists the faults by kind, at most about `limit` of them, and some of every kind."""
    kinds = collections.defaultdict(list)
    for fault in faults:
        kinds[fault.kind].append(fault)
    shown = len(faults) if limit is None else max(1, limit // max(1, len(kinds)))
    return "\n".join(_describe_kind(kind, members, shown) for kind, members in kinds.items())


def _describe_kind(kind: str, faults: Sequence[Fault], shown: int) -> str:
    lines = [f"{kind} ({len(faults)}): {ADVICE[kind]}"]
    lines += [f"  {fault}" for fault in faults[:shown]]
    lines += [f"  ... and {len(faults) - shown} more"] if len(faults) > shown else []
    return "\n".join(lines)


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def excerpt(value: Any) -> str:
    """Returns the value as text, cut to 80 characters and six levels."""
    text = _short_repr.repr(value)
    return text if len(text) <= _MOST_CHARACTERS else f"{text[: _MOST_CHARACTERS - 3]}..."


def _short(value: Any) -> str:
    """Returns a str as it is, a box to two decimals, and whatever is neither cut to 80 characters."""
    if isinstance(value, list):
        value = [round(side, 2) if isinstance(side, float) else side for side in value[:_MOST_CHARACTERS]]
    return value if isinstance(value, str) and len(value) <= _MOST_CHARACTERS else excerpt(value)


def _strict(value: Any, depth: int = 0) -> Any:
    """Returns the JSON value with None instead of NaN and infinity, and deeply nested parts shortened."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, (list, tuple, dict)) and depth == 6:
        return excerpt(value)
    if isinstance(value, (list, tuple)):
        return [_strict(item, depth + 1) for item in value]
    if isinstance(value, dict):
        return {key: _strict(item, depth + 1) for key, item in value.items()}
    return value
