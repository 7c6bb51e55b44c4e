"""Writes predictions to a folder: a drawn picture for each image, and COCO results."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from tf_frozen.errors import RunError
from tf_frozen.export import fonts
from tf_frozen.export.drawing import draw
from tf_frozen.export.signature import Detections
from tf_frozen.files import write_error

RESULTS = "predictions.json"
PARTIAL = "predictions.partial.jsonl"


class PredictionWriter:
    """Writes drawn pictures, each under the name of its image, and `predictions.json` to a folder.

    Until that file is complete, `predictions.partial.jsonl` holds the rows of the images so far, one on each line.

    Args:
      output: the folder to write; made if it does not exist.
      names: the name of each image path within the folder.
      categories: the name of each category id.
      image_ids: the id of each image path in the results.

    Raises:
      RunError: the folder cannot be written, or a picture would replace an image it was drawn from.
    """

    def __init__(
        self,
        output: str,
        names: Mapping[str, str],
        categories: Mapping[int, str],
        image_ids: Mapping[str, int | str],
    ):
        self._folder = Path(output).expanduser().absolute()
        self._pictures = {path: self._folder / _picture_name(name) for path, name in names.items()}
        self._labels, self._image_ids = fonts.labels(categories), image_ids
        originals = [path for path, picture in self._pictures.items() if str(picture) in names]
        if originals:
            raise RunError(f"`output` {output} would replace the image {originals[0]}: choose another folder.")
        self._make(self._folder)
        self._write(self._folder / PARTIAL, b"")

    def add(self, path: str, image: np.ndarray, found: Detections) -> None:
        """Draws what was `found` on `image`, uint8 RGB [h, w, 3], and writes the picture and the rows of `path`."""
        labels = [self._labels.get(int(category), str(category)) for category in found.classes]
        order = {category: place for place, category in enumerate(self._labels)}
        classes = [order.get(int(category), 0) for category in found.classes]
        drawn = draw(image, found.boxes, labels, found.scores, segmentations=found.segmentations, classes=classes)
        picture = self._pictures[path]
        encode = tf.io.encode_png if picture.suffix.lower() == ".png" else tf.io.encode_jpeg
        self._make(picture.parent)
        self._write(picture, encode(tf.constant(drawn)).numpy())
        with self._named(self._folder / PARTIAL) as partial, open(partial, "ab") as file:
            file.write("".join(json.dumps(row) + "\n" for row in found.rows(self._image_ids[path])).encode())

    def write_results(self, rows: Sequence[Mapping]) -> str:
        """Writes `rows` of COCO results, all there are, and returns the path of the file."""
        path = self._folder / RESULTS
        self._write(path, (json.dumps(rows) + "\n").encode())
        (self._folder / PARTIAL).unlink(missing_ok=True)
        return str(path)

    def _make(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise write_error(str(folder), error) from error

    def _write(self, path: Path, contents: bytes) -> None:
        """Writes beside `path` first, so that a killed process leaves no half file under that name."""
        partial = path.with_name(f".{path.name}.partial")
        with self._named(path):
            partial.write_bytes(contents)
            os.replace(partial, path)

    @contextlib.contextmanager
    def _named(self, path: Path) -> Iterator[Path]:
        """Raises RunError that names the path where it cannot be written."""
        try:
            yield path
        except OSError as error:
            raise write_error(str(path), error) from error


def _picture_name(name: str) -> str:
    return name if Path(name).suffix.lower() in (".jpg", ".jpeg", ".png") else f"{name}.png"
