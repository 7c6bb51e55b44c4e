"""Detects on images with an exported SavedModel, a run, or a detector in memory."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tf_frozen.data.category import Category
from tf_frozen.data.checks.images import inspect_file
from tf_frozen.data.faults import Problem
from tf_frozen.data.images import read
from tf_frozen.data.magnification import MagnificationCheck
from tf_frozen.errors import ConfigError, DataError, RunError
from tf_frozen.export.serving_module import ServingModule
from tf_frozen.export.signature import ABOUT, CLASSES, Detections, check_signature, from_outputs
from tf_frozen.keras_flavor import keras
from tf_frozen.progress import Counter

_LOG = logging.getLogger(__name__)


class _Served(NamedTuple):
    """The detection function, the name of each category id, and the arguments of `MagnificationCheck`."""

    detect: Callable[..., Mapping[str, tf.Tensor]]
    names: dict[int, str]
    trained_on: tuple[Mapping[str, Any] | None, Sequence[int], float | None]
    model: Any = None  # TensorFlow frees the variables of a SavedModel with it


class Predictor:
    """Detects on images of any size; `names` gives the name of each category id.

    Args:
      model: a folder that `export` wrote; a run directory with an export in `saved_model/`; a Run, whose best
        checkpoint is used; or a detector in memory.
      categories: the classes of a detector: class k is `categories[k - 1]`. Runs and folders have them already.

    Raises:
      RunError: `model` does not exist or cannot be loaded.
      ConfigError: `model` is of another type, or is a detector without `categories`.
    """

    def __init__(
        self, model: str | os.PathLike | keras.Model | Any, categories: Sequence[Category | tuple[int, str]] = ()
    ):
        if isinstance(model, str | os.PathLike):
            served = _from_folder(_saved_model(Path(model).expanduser()))
        elif hasattr(model, "restored_detector"):
            served = _in_memory(model.restored_detector(), model.categories, model.magnification)
        elif isinstance(model, keras.Model) and categories:
            served = _in_memory(model, [Category(*category) for category in categories], None)
        else:
            raise ConfigError(
                f"Predictor.model is {model!r} and its categories are {categories!r}; give a run, a folder, or a "
                f"detector with its categories, as those of its training data: CocoJson.categories."
            )
        self._served, self.names = served, served.names

    def detect(self, image: np.ndarray | str | os.PathLike, score_threshold: float = 0.0) -> Detections:
        """Returns the objects of score >= `score_threshold` on `image`, uint8 RGB [h, w, 3] or an image file.

        Raises DataError for a file that cannot be read.
        """
        image = _read(image) if isinstance(image, str | os.PathLike) else image
        found = from_outputs(self._served.detect(images=tf.constant(image[None])))
        return Detections.of(found, 0, image.shape[:2], score_threshold)

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
        with Counter(len(paths), "detecting", "images") as counter:
            for path in counter.over(paths):
                problem = inspect_file(path, decode=True)
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
        if magnification.count:
            _LOG.warning("%s.", magnification.count)
        return rows, failures

    def magnification_check(self) -> MagnificationCheck:
        """Returns the check of image sizes against those that the detector was trained on."""
        return MagnificationCheck(*self._served.trained_on)


def _from_folder(folder: Path) -> _Served:
    """The SavedModel in a folder; RunError where it cannot be loaded."""
    try:
        classes, about = (json.loads((folder / name).read_text(encoding="utf-8")) for name in (CLASSES, ABOUT))
        names = {category["id"]: category["name"] for category in classes}
        if not names:
            raise ValueError(f"{CLASSES} names no class")
        tiles = about.get("tiles") or {}
        trained_on = (about.get("magnification"), about["image_size"], tiles.get("magnification"))
        MagnificationCheck(*trained_on).add("", 1, 1)
        model = tf.saved_model.load(str(folder))
        detect = model.signatures["serving_default"]
        check_signature(detect)
    except Exception as error:  # TensorFlow has no one error for what its parsers do not understand
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise RunError(
            f"Cannot load {folder}: {reason}. It is not a whole export of tf-frozen; export its run again."
        ) from error
    return _Served(detect, names, trained_on, model)


def _in_memory(
    detector: keras.Model, categories: Sequence[Category], magnification: Mapping[str, Any] | None
) -> _Served:
    trained_on = (magnification, detector.frame, detector.tiles and detector.tiles.magnification)
    return _Served(ServingModule(detector, categories).function(), dict(categories), trained_on)


def _read(path: str | os.PathLike) -> np.ndarray:
    path = os.path.expanduser(path)
    problem = inspect_file(path, decode=True)
    if isinstance(problem, Problem):
        raise DataError(f"{path}: {problem.message}.")
    return read(path)


def _saved_model(folder: Path) -> Path:
    """Returns the SavedModel that `folder` is or holds."""
    for candidate in (folder, folder / "saved_model"):
        if (candidate / "saved_model.pb").is_file():
            return candidate
    if not folder.is_dir():
        raise RunError(f"`model` {folder} does not exist.")
    if (folder / "config.gin").is_file():
        raise RunError(f"The run {folder} has not been exported yet: export it to {folder / 'saved_model'}.")
    raise RunError(f"`model` {folder} is neither a SavedModel (no saved_model.pb) nor a run (no config.gin).")
