"""One experiment in one directory: trained, resumed, scored and restored from there."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path

import gin
import tensorflow as tf

from tf_frozen import experiment
from tf_frozen.data.annotations import Category, CocoJson
from tf_frozen.data.pipeline import TrainBatches, eval_batches
from tf_frozen.detectors.detector import Detector
from tf_frozen.errors import DataError, RunError
from tf_frozen.evaluation.coco import score
from tf_frozen.evaluation.detections import detect_all
from tf_frozen.freezing.audit import Audit
from tf_frozen.freezing.savings import savings, table
from tf_frozen.keras_flavor import keras
from tf_frozen.training.averaging import averaged_weights
from tf_frozen.training.checkpoint import Checkpoints
from tf_frozen.training.environment import environment
from tf_frozen.training.files import write_atomic
from tf_frozen.training.strategy import default_strategy

log = logging.getLogger(__name__)


@gin.configurable
class Run:
    """Binds a detector, data and an optimizer to `model_dir`; each is built only when a command needs it.

    `detector`, `train_data`, `val_data` and `optimizer` are callables (in gin: `@RCNN`, without parentheses), called
    with no argument. `evaluate_every` steps the val split is scored and drawn to TensorBoard; 0 means at the end only.
    """

    def __init__(
        self,
        model_dir: str,
        detector: Callable[[], Detector] = gin.REQUIRED,
        train_data: Callable[[], CocoJson] = gin.REQUIRED,
        val_data: Callable[[], CocoJson] = gin.REQUIRED,
        optimizer: Callable[[], keras.optimizers.Optimizer] = gin.REQUIRED,
        train_steps: int = gin.REQUIRED,
        batch_size: int = gin.REQUIRED,
        seed: int = 0,
        evaluate_every: int = 0,
        checkpoint_seconds: float = 60.0,
        train_batches: Callable[..., TrainBatches] = TrainBatches,
    ):
        self.model_dir = Path(model_dir)
        self._detector, self._optimizer = detector, optimizer
        self._train_data, self._val_data = train_data, val_data
        self.train_steps, self.batch_size, self.seed = train_steps, batch_size, seed
        self.evaluate_every, self.checkpoint_seconds = evaluate_every, checkpoint_seconds
        self._train_batches = train_batches
        self.strategy = default_strategy()
