"""Scores a detector on the val split and leaves figures and pictures in the run directory."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image

from tf_frozen.data.annotations import Category, CocoJson
from tf_frozen.data.images import read
from tf_frozen.data.pipeline import eval_batches
from tf_frozen.data.reading import named
from tf_frozen.detectors.detector import Detector
from tf_frozen.evaluation.coco import evaluate
from tf_frozen.evaluation.detections import ImageDetector, detect_all
from tf_frozen.evaluation.drawing import draw
from tf_frozen.files import write_atomic, write_error
from tf_frozen.training.callbacks.tensorboard import TensorBoard
from tf_frozen.training.run_directory import RunDirectory

_SHOWN_SCORE = 0.3
_MOST_PICTURES = 16


class Scorer:
    """Holds `metrics`, `per_class` and `results` (COCO rows) of the last `score`.

    What is found of `categories` that the data do not list is drawn, but not scored nor among the results.
    """

    def __init__(
        self, detector: Detector, data: CocoJson, categories: Sequence[Category], model_dir: Path, batch_size: int
    ):
        self._data, self._categories, self._model_dir = data, categories, model_dir
        self._batch_size = batch_size
        self._batches = eval_batches(data.examples, None if detector.tiles else detector.frame, batch_size)
        self._masks = detector.finds_masks
        # Here, so that it is traced once for all the times that a run is scored.
        self._detect = tf.function(ImageDetector(detector, categories).detect)
        self.metrics: dict[str, float | None] = {}
        self.per_class: list[dict] = []
        self.results: list[dict] = []
        self._found: list[dict] = []

    def score(self, step: int) -> dict[str, float | None]:
        """Adds a line to metrics.jsonl, and scalars and pictures to TensorBoard; gives the metrics."""
        with named(self._data.examples):
            self._found = detect_all(self._detect, self._batches, self._data.examples)
        listed = {category.id for category in self._data.categories}
        self.results = [row for row in self._found if row["category_id"] in listed]
        self.metrics, self.per_class = evaluate(self._data.ground_truth, self.results, self._masks)
        RunDirectory(self._model_dir).add_metrics(step, self.metrics)
        board = TensorBoard(str(self._model_dir / "tensorboard"), self._batch_size)
        board.scalars(step, {f"val/{name}": value for name, value in self.metrics.items() if value is not None})
        for name, picture in self.pictures():
            board.images(step, f"val/{name}", picture)
        return self.metrics

    @property
    def image_paths(self) -> list[str]:
        """Files of the split's images."""
        return [example.path for example in self._data.examples]

    def pictures(self) -> list[tuple[str, np.ndarray]]:
        """The first val images by file name, uint8, with the boxes found and, thin, those drawn by hand."""
        names = {category.id: category.name for category in self._categories}
        order = {category.id: place for place, category in enumerate(self._categories)}
        stems = [Path(example.path).stem for example in self._data.examples]
        pictures = []
        for number, example in enumerate(self._data.examples[:_MOST_PICTURES]):
            rows = [r for r in self._found if r["image_id"] == example.image_id and r["score"] >= _SHOWN_SCORE]
            x, y, w, h = np.reshape([row["bbox"] for row in rows], [-1, 4]).T
            labels, scores = [names[row["category_id"]] for row in rows], [row["score"] for row in rows]
            boxes, classes = np.stack([y, x, y + h, x + w], -1), [order[row["category_id"]] for row in rows]
            masks = [row["segmentation"] for row in rows] if self._masks else None
            with named([example]):
                image = draw(read(example.path), boxes, labels, scores, example.boxes, masks, classes)
            # Folders may hold files of the same name.
            name = stems[number] if stems.count(stems[number]) == 1 else f"{stems[number]}_{number}"
            pictures.append((name, image))
        return pictures

    def write(self, folder: Path) -> None:
        """Writes results.json and the pictures, as PNG, to `folder`."""
        write_atomic(str(folder / "results.json"), json.dumps(self.results))
        for name, picture in self.pictures():
            path = folder / f"{name}.png"
            try:
                Image.fromarray(picture).save(path)
            except OSError as error:
                raise write_error(str(path), picture.nbytes, error.strerror or str(error)) from error
