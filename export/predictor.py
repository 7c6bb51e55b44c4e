"""Detects on image files with an exported SavedModel."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
from tf_frozen.export.saved_model import ABOUT, CLASSES, OUTPUTS

from tf_frozen.data.checks.images import look_at
from tf_frozen.data.faults import Problem
from tf_frozen.data.images import read
from tf_frozen.data.magnification import MagnificationCheck
from tf_frozen.errors import RunError
from tf_frozen.evaluation.detections import Detections, detections_of

_LOG = logging.getLogger(__name__)
_SECONDS_BETWEEN_LINES = 10


class Predictor:
    """A SavedModel in this process; `names` gives the name of each category id.

    Args:
      model: a folder that `export` wrote, or a run directory with one in `saved_model/`.

    Raises:
      RunError: there is none, or it cannot be loaded.
    """

    def __init__(self, model: str):
        folder = _saved_model(Path(model).expanduser())
        try:
            classes, about = (json.loads((folder / name).read_text(encoding="utf-8")) for name in (CLASSES, ABOUT))
            self.names: dict[int, str] = {category["id"]: category["name"] for category in classes}
            if not self.names:
                raise ValueError(f"{CLASSES} names no class")
            tiles = about.get("tiles") or {}
            self._trained_on = (about.get("magnification"), about["image_size"], tiles.get("magnification"))
            self.magnification_check().add("", 1, 1)
            self._model = tf.saved_model.load(str(folder))
            self._detect = self._model.signatures["serving_default"]
            _check_signature(self._detect)
        except Exception as error:  # TensorFlow has no one error for what its parsers do not understand
            reason = str(error).partition("\n")[0] or type(error).__name__
            raise RunError(
                f"Cannot load {folder}: {reason}. It is not a whole export of tf-frozen; write it again: tf-frozen "
                f"export --model_dir RUN --output {folder}"
            ) from error

    def detect(self, image: np.ndarray, score_threshold: float = 0.0) -> Detections:
        """Returns the objects of score >= `score_threshold` on `image`, uint8 RGB [h, w, 3]."""
        served = self._detect(images=tf.constant(image[None]))
        found = {name: served[key].numpy() for name, key in OUTPUTS.items() if key in served}
        return detections_of(found, 0, *image.shape[:2], score_threshold)

    def predict(
        self,
        paths: Sequence[str],
        image_ids: Mapping[str, int | str],
        score_threshold: float = 0.0,
        show: Callable[[str, np.ndarray, Detections], None] = lambda path, image, found: None,
    ) -> tuple[list[dict], dict[str, str]]:
        """Detects on image files; one that cannot be read does not stop the others.

        Args:
          paths: image files; a rotation noted in EXIF is applied.
          image_ids: the id of each path.
          score_threshold: lowest score that is kept.
          show: called after each image with its path, its uint8 pixels and its detections.

        Returns:
          COCO-results rows {image_id, category_id, bbox [x, y, w, h], score, and segmentation where the detector finds
          masks}, and for each path that could not be read what was wrong with it.
        """
        rows, failures, magnification = [], {}, self.magnification_check()
        started = said = time.monotonic()
        for done, path in enumerate(paths, start=1):
            problem = look_at(path, decode=True)
            if isinstance(problem, Problem):
                failures[path] = problem.message
                continue
            image = read(path)
            odd = magnification.add(path, *image.shape[:2])
            if odd:
                _LOG.warning("%s", odd)
            found = self.detect(image, score_threshold)
            rows += found.rows(image_ids[path])
            show(path, image, found)
            if time.monotonic() - said > _SECONDS_BETWEEN_LINES:
                said = time.monotonic()
                rate = done / (said - started)
                left = (len(paths) - done) / rate
                _LOG.info("%d of %d images, %.1f images/s, %.0f s left", done, len(paths), rate, left)
        if magnification.count:
            _LOG.warning("%s.", magnification.count)
        return rows, failures

    def magnification_check(self) -> MagnificationCheck:
        """What compares the sizes of images with those that the detector was trained on."""
        return MagnificationCheck(*self._trained_on)


def _check_signature(detect: Callable) -> None:
    """Raises ValueError unless it takes images and gives detections, masks or not."""
    inputs, outputs = set(detect.structured_input_signature[1]), set(detect.structured_outputs)
    missing = {"images"} - inputs | set(OUTPUTS.values()) - {OUTPUTS["masks"]} - outputs
    if missing:
        raise ValueError(f"its signature lacks {', '.join(sorted(missing))}")


def _saved_model(folder: Path) -> Path:
    """Returns the SavedModel that `folder` is or holds."""
    for candidate in (folder, folder / "saved_model"):
        if (candidate / "saved_model.pb").is_file():
            return candidate
    if not folder.is_dir():
        raise RunError(f"--model {folder}: there is no such folder.")
    if (folder / "config.gin").is_file():
        export = f"tf-frozen export --model_dir {folder} --output {folder / 'saved_model'}"
        raise RunError(f"The run {folder} has not been exported yet. Run: {export}")
    raise RunError(f"--model {folder} is neither a SavedModel (no saved_model.pb) nor a run (no config.gin).")
