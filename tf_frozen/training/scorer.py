"""Scores a detector on the val split and writes figures and pictures to the run directory."""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image

from tf_frozen.data.category import Category
from tf_frozen.data.pipeline import eval_batches
from tf_frozen.data.reading import named
from tf_frozen.data.source import DataSource
from tf_frozen.data.subset import Subset
from tf_frozen.detectors.detector import Detector
from tf_frozen.errors import ConfigError
from tf_frozen.evaluation.metric import Metric, evaluate_all
from tf_frozen.evaluation.metrics.coco import CocoBoxes, CocoMasks
from tf_frozen.evaluation.report import table
from tf_frozen.export import fonts
from tf_frozen.export.drawing import draw
from tf_frozen.export.image_detector import ImageDetector, detect_all
from tf_frozen.files import write_atomic, write_error
from tf_frozen.graph_function import GraphFunction
from tf_frozen.progress import Counter
from tf_frozen.training.callbacks.tensorboard import TensorBoard
from tf_frozen.training.run_directory import RunDirectory

_LOGGER = logging.getLogger(__name__)
_SHOWN_SCORE = 0.3
_MOST_PICTURES = 16


class Scorer:
    """Scores `detector` on `data`; holds `metrics`, `per_class` and `results` (COCO rows) of the last `score`.

    `sample` describes the images scored. Detections of `categories` that the data do not list are drawn, but neither
    scored nor in the results. With `images`, that many of the split are scored, spread evenly over it. `augment` False
    turns test-time augmentation off. `scored_by` are the metrics; the default is COCO's, with masks where the detector
    finds them. Raises ConfigError for a metric that needs masks where the detector finds none.
    """

    def __init__(
        self,
        detector: Detector,
        data: DataSource,
        categories: Sequence[Category],
        model_dir: Path,
        batch_size: int,
        scored_by: Sequence[Metric] = (),
        images: int | None = None,
        augment: bool = True,
    ):
        self.detector = detector
        self._arguments = (detector, data, categories, model_dir, batch_size, scored_by)
        self._data = data if images is None else Subset(data, _spread(len(data.examples), images))
        self.examples, self._ground_truth = self._data.examples, self._data.ground_truth
        self._listed = {category.id for category in data.categories}
        self._categories, self._model_dir, self._batch_size = categories, model_dir, batch_size
        self._masks = detector.finds_masks
        coco = CocoMasks if self._masks else CocoBoxes
        self._scored_by = scored_by or [coco(detections=detector.detections)]
        unfit = [type(metric).__name__ for metric in self._scored_by if metric.needs_masks and not self._masks]
        if unfit:
            raise ConfigError(f"Run.metrics: {' and '.join(unfit)} needs masks, and the detector finds boxes alone.")
        few = f"{len(self.examples)} of {len(data.examples)}" if images else str(len(self.examples))
        usual = augment or detector.test_time_augmentation is None
        self.sample = f"{few} val images" + ("" if usual else ", without test-time augmentation")
        # Here, so that it is traced once for all the times that a run is scored.
        self._detect = GraphFunction(ImageDetector(detector, categories, augment).detect)
        self.metrics: dict[str, float | None] = {}
        self.per_class: list[dict] = []
        self.results: list[dict] = []
        self._found: list[dict] = []

    def few(self, images: int) -> Scorer:
        """A quick scorer, of `images` images of the split without test-time augmentation."""
        return Scorer(*self._arguments, images=images, augment=False)

    def score(self, step: int) -> dict[str, float | None]:
        """Adds a line to metrics.jsonl, and scalars and pictures to TensorBoard; gives the metrics."""
        with named(self._data), Counter(len(self.examples), "scoring", "images") as counter:
            batches = counter.over(self._batches, lambda batch: len(batch[0]))
            self._found = detect_all(self._detect, batches, self.examples)
        self.results = [row for row in self._found if row["category_id"] in self._listed]
        self.metrics, self.per_class = evaluate_all(self._scored_by, self._ground_truth, self.results)
        directory = RunDirectory(self._model_dir)
        directory.add_metrics(step, {"images": len(self.examples), **self.metrics})
        board = TensorBoard(str(directory.tensorboard), self._batch_size)
        board.scalars(step, {f"val/{name}": value for name, value in self.metrics.items() if value is not None})
        for name, picture in self.pictures():
            board.images(step, f"val/{name}", picture)
        return self.metrics

    @functools.cached_property
    def _batches(self) -> tf.data.Dataset:
        return eval_batches(self._data, None if self.detector.tiles else self.detector.frame, self._batch_size)

    @property
    def headline(self) -> str:
        """The name of the figure by which checkpoints are compared."""
        return self._scored_by[0].headline

    @property
    def brief(self) -> list[str]:
        """The names of the figures that a line has room for."""
        return [name for metric in self._scored_by for name in metric.names[:2]]

    def table(self) -> str:
        """The figures of the last score and their meanings, and those of each class, as lines."""
        meanings = {name: text for metric in self._scored_by for name, text in metric.meanings.items()}
        return table(self.metrics, self.per_class, meanings)

    def images(self, count: int) -> list[np.ndarray]:
        """The first images of the split, uint8 [h, w, 3]."""
        return [self._data.image(index) for index in range(min(count, len(self.examples)))]

    def pictures(self) -> list[tuple[str, np.ndarray]]:
        """The first val images by name, uint8, with the boxes found and, thin, those drawn by hand."""
        names = fonts.labels({category.id: category.name for category in self._categories})
        order = {category.id: place for place, category in enumerate(self._categories)}
        stems = [Path(self._data.describe(index)).stem for index in range(len(self.examples))]
        pictures = []
        for number, example in enumerate(self.examples[:_MOST_PICTURES]):
            rows = [r for r in self._found if r["image_id"] == example.image_id and r["score"] >= _SHOWN_SCORE]
            x, y, w, h = np.reshape([row["bbox"] for row in rows], [-1, 4]).T
            labels, scores = [names[row["category_id"]] for row in rows], [row["score"] for row in rows]
            boxes, classes = np.stack([y, x, y + h, x + w], -1), [order[row["category_id"]] for row in rows]
            masks = [row["segmentation"] for row in rows] if self._masks else None
            with named(self._data):
                image = draw(self._data.image(number), boxes, labels, scores, example.boxes, masks, classes)
            # Two folders may hold files of the same name.
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
                raise write_error(str(path), error, picture.nbytes) from error
        drawn, count = min(_MOST_PICTURES, len(self.examples)), len(self.examples)
        of = f"all {count} val images" if drawn == count else f"the first {drawn} of {count} val images"
        _LOGGER.info("%s holds pictures of %s, and results.json the detections on all.", folder, of)


def _spread(total: int, count: int) -> list[int]:
    """`count` of `total` indices, in order and evenly spread, as neighbours in a data set are often alike."""
    count = min(count, total)
    return [number * total // count for number in range(count)]
