"""Summarizes a data set's boxes and classes, so that anomalies are easy to see."""

from __future__ import annotations

import collections
import dataclasses
import difflib
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tf_frozen.data.checks.annotations import Place
from tf_frozen.data.checks.boxes import check_box, is_finite, is_number
from tf_frozen.data.magnification import shown
from tf_frozen.data.source import DataSource

_SMALL = 16  # px of the network's input, below which an object is a cell or less of most pyramids
_RARE = 2
_LONG_TAIL = 10  # times as many images of one class as of another
_COUNTED = 100  # detections an image that COCO's AP counts
_ALIKE = 0.8  # difflib's ratio of two names
_NAMES_SHOWN, _WIDTH = 4, 44


@dataclasses.dataclass(frozen=True)
class Summary:
    """Counts of a data set.

    `boxes` and all that follows exclude crowds, which are not trained on. `sizes` are the 5th, 50th and 95th percentile
    of the square roots of box areas in pixels, None where there is no box. `small_boxes` is the share of boxes under
    16 px at the network's scale, that of images fitted into `frame` or else of tiles at `magnification`, None where
    neither is known; `crowded_images` have more than 100 boxes, which are all that COCO's AP counts; `detections` is
    how many an image is given at most, None where there is no limit; `odd_areas` counts annotations by what their
    `area` is instead of the object's.
    """

    images: int
    images_without_boxes: int
    boxes: int
    crowds: int
    median_per_image: float
    most_per_image: int
    most_in: str
    crowded_images: int
    detections: int | None
    sizes: tuple[float, float, float] | None
    frame: tuple[int, int] | None
    magnification: float | None
    small_boxes: float | None
    boxes_of_class: dict[str, int]
    images_of_class: dict[str, int]
    similar_names: list[tuple[str, str]]
    odd_areas: dict[str, int]
    rotated: int

    @property
    def classes_without_boxes(self) -> list[str]:
        """The names of classes that no box has."""
        return [name for name, count in self.boxes_of_class.items() if not count]

    @property
    def rare_classes(self) -> list[str]:
        """The names of classes of one or two boxes."""
        return [name for name, count in self.boxes_of_class.items() if 0 < count <= _RARE]

    @property
    def notes(self) -> list[str]:
        """Sentences on what needs a setting."""
        if not self.crowded_images:
            return []
        images = f"{_count(self.crowded_images, 'image')} with more than {_COUNTED} objects"
        return [
            f"{images}, the most {self.most_per_image:,} in {self.most_in}.{self._limit()} COCO's AP counts the best "
            f"{_COUNTED} detections of a class in an image; AP and AR of all of them are shown beside it."
        ]

    @property
    def training_notes(self) -> list[str]:
        """Sentences on what needs a setting where the data set is trained on."""
        images = {name: count for name, count in self.images_of_class.items() if count}
        most, fewest = max(images, key=images.get, default=None), min(images, key=images.get, default=None)
        if not images or images[most] < _LONG_TAIL * images[fewest]:
            return []
        return [
            f"A long tail of classes: {most} is in {_count(images[most], 'image')} and {fewest} in {images[fewest]:,}. "
            "samplers/repeat_factor.gin, which runs/train_on_coco_json.gin includes, shows images of rare classes more "
            "often; RepeatFactor.threshold = 1.0 instead of 0.3 more often still."
        ]

    def _limit(self) -> str:
        """Returns how many detections an image is given, and what to do where that is too few."""
        if self.detections is None:
            return ""
        if self.detections >= self.most_per_image:
            return f" An image is given up to {self.detections:,} detections (DETECTIONS)."
        return (
            f" An image is given no more than {self.detections:,} detections: raise MOST_DETECTIONS, or DETECTIONS "
            "where that is a number, or detect on tiles."
        )

    def as_dict(self) -> dict[str, Any]:
        """Returns all figures, names and notes, ready for JSON."""
        names = ("classes_without_boxes", "rare_classes", "notes", "training_notes")
        return dataclasses.asdict(self) | {name: getattr(self, name) for name in names}


def summarize(
    rows: Sequence[Any],
    places: Mapping[Any, Place],
    categories: Mapping[int, str],
    frame: tuple[int, int] | None = None,
    detections: int | None = None,
    magnification: float | None = None,
) -> Summary:
    """Returns the summary of the list 'annotations' of a COCO JSON, without rows that are faulty.

    `places` has file and size of each image by its id, `categories` the names by ids; `frame` is the (height, width)
    that the network's images are fitted into, or that of its tiles where these have a `magnification`, frame pixels
    for an image pixel; `detections` is the most that an image is given, None for no limit.
    """
    usable = [row for row in rows if _is_usable(row, places, categories)]
    objects = [row for row in usable if row.get("iscrowd") != 1]
    per_image = collections.Counter(row["image_id"] for row in objects)
    most_in, most = max(per_image.items(), key=lambda pair: pair[1], default=(None, 0))
    of_class = collections.Counter(row["category_id"] for row in objects)
    images_of = collections.Counter(number for _, number in {(row["image_id"], row["category_id"]) for row in objects})
    sizes = np.sqrt(np.asarray([row["bbox"][2:] for row in objects], np.float64).reshape([-1, 2]).prod(axis=1))
    return Summary(
        images=len(places),
        images_without_boxes=len(places) - len(per_image),
        boxes=len(objects),
        crowds=len(usable) - len(objects),
        median_per_image=float(np.median([per_image[image_id] for image_id in places])) if places else 0.0,
        most_per_image=most,
        most_in=places[most_in].file if most else "",
        crowded_images=sum(count > _COUNTED for count in per_image.values()),
        detections=detections,
        sizes=tuple(np.percentile(sizes, [5, 50, 95]).round(1).tolist()) if objects else None,
        frame=frame,
        magnification=magnification,
        small_boxes=_small_share(objects, sizes, places, frame, magnification),
        boxes_of_class={name: of_class[number] for number, name in categories.items()},
        images_of_class={name: images_of[number] for number, name in categories.items()},
        similar_names=_similar([*categories.values()]),
        odd_areas=dict(collections.Counter(filter(None, (_odd_area(row, places) for row in objects)))),
        rotated=sum(_is_rotated(row) for row in objects),
    )


def summary_of(
    source: DataSource,
    frame: tuple[int, int] | None = None,
    detections: int | None = None,
    magnification: float | None = None,
) -> Summary:
    """Returns the summary of a data source; the other arguments are as in `summarize`."""
    images = enumerate(source.examples)
    places = {each.image_id: Place(source.describe(index), each.height, each.width) for index, each in images}
    rows, names = source.ground_truth["annotations"], dict(source.categories)
    return summarize(rows, places, names, frame, detections, magnification)


def table(summaries: Mapping[str, Summary]) -> str:
    """Returns the summaries as the columns of one table, without rows that say nothing, then their notes.

    The first is of the data to train on.
    """
    columns = [[("", title), *_rows(summary)] for title, summary in summaries.items()]
    lines = [(row[0][0], *(cell for _, cell in row)) for row in zip(*columns, strict=True)]
    lines = [line for line in lines if any(line[1:])]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]
    notes = [note for of in summaries.values() for note in of.notes]
    notes += next(iter(summaries.values())).training_notes
    return "\n".join([line.rstrip() for line in padded] + notes)


def _rows(summary: Summary) -> Iterator[tuple[str, str]]:
    """Yields what each row of the table says of a summary, '' where that is not worth a row."""
    alike = [f"{first} / {second}" for first, second in summary.similar_names]
    odd = [f"{count} {what}" for what, count in summary.odd_areas.items()]
    without, some = summary.images_without_boxes, summary.boxes > 0
    yield "images", f"{summary.images:,}"
    yield "  without boxes", f"{without:,} of {summary.images:,}" if without else ""
    yield "boxes", f"{summary.boxes:,}"
    yield "  an image", f"median {summary.median_per_image:g}, most {summary.most_per_image:,}" if some else ""
    sizes, small = summary.sizes, summary.small_boxes
    yield "  size in px", f"median {sizes[1]:g}, 5 % below {sizes[0]:g}, 5 % above {sizes[2]:g}" if sizes else ""
    yield f"  under {_SMALL} px {_scale(summary)}", f"{small:.0%}" if small is not None else ""
    yield "  crowds, not trained on", f"{summary.crowds:,}" if summary.crowds else ""
    yield "  rotated, trained upright", f"{summary.rotated:,}" if summary.rotated else ""
    yield "  area that is not the box's", _list(odd, "")
    yield "classes", _list(list(summary.boxes_of_class))
    yield "  without boxes", _list(summary.classes_without_boxes)
    yield f"  with {_RARE} boxes or fewer", _list(summary.rare_classes)
    yield "  with similar names", _list(alike)


def _scale(summary: Summary) -> str:
    """Returns the scale that `small_boxes` are of, in words."""
    if summary.magnification:
        return f"on tiles at magnification {summary.magnification:g}"
    return "in a frame of {} × {}".format(*summary.frame) if summary.frame else "in the network"


def _list(names: Sequence[str], count: str | None = None) -> str:
    """Returns how many names there are, and the first of them."""
    if not names:
        return ""
    shown = ", ".join(map(str, names[:_NAMES_SHOWN])) + (", ..." if len(names) > _NAMES_SHOWN else "")
    shown = shown if len(shown) <= _WIDTH else f"{shown[: _WIDTH - 3]}..."
    return shown if count is not None else f"{len(names):,}: {shown}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun if number == 1 else noun + 's'}"


def _is_usable(row: Any, places: Mapping[Any, Place], categories: Mapping[int, str]) -> bool:
    if not isinstance(row, Mapping) or check_box(row.get("bbox"), None, None):
        return False
    ids = row.get("image_id"), row.get("category_id")
    return all(isinstance(number, (int, str)) for number in ids) and ids[0] in places and ids[1] in categories


def _small_share(
    objects: Sequence[Mapping],
    sizes: np.ndarray,
    places: Mapping[Any, Place],
    frame: tuple[int, int] | None,
    magnification: float | None,
) -> float | None:
    """Returns the share of objects that are small at the network's scale, of those in images of a known size."""
    if frame is None:
        return None
    images = [places[row["image_id"]] for row in objects]
    sides = [
        size * shown(frame, magnification, image.height, image.width)
        for size, image in zip(sizes, images, strict=True)
        if image.height and image.width
    ]
    return float(np.mean(np.less(sides, _SMALL))) if sides else None


def _similar(names: Sequence[str]) -> list[tuple[str, str]]:
    """Returns pairs of names that may be one name misspelt; those that differ in digits alone are meant to differ."""
    names = [str(name) for name in names]
    pairs = [
        (name, other)
        for index, name in enumerate(names)
        for other in difflib.get_close_matches(name, names[index + 1 :], n=3, cutoff=_ALIKE)
    ]
    return [(name, other) for name, other in pairs if _without_digits(name) != _without_digits(other)]


def _without_digits(name: str) -> str:
    return "".join(character for character in name if not character.isdigit())


def _odd_area(row: Mapping, places: Mapping[Any, Place]) -> str | None:
    """Returns what the area of an annotation is, if it is neither its box's nor that of a mask within."""
    area, box = row.get("area"), row["bbox"][2] * row["bbox"][3]
    if not is_number(area) or not is_finite(area):
        return None
    image = places[row["image_id"]]
    if area == 0:
        return "zero"
    if image.height and image.width and math.isclose(area, image.height * image.width) and area > 1.1 * box:
        return "the image's"
    if area <= 1 < box:
        return "a fraction"
    return "larger" if area > 1.1 * box + 1 else None


def _is_rotated(row: Mapping) -> bool:
    attributes = row.get("attributes")
    return isinstance(attributes, Mapping) and is_number(attributes.get("rotation")) and attributes["rotation"] != 0
