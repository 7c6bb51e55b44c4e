"""An experiment in one directory: training, resuming, scoring and restoring."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gin
import tensorflow as tf

from tf_frozen.config.checked import Checked
from tf_frozen.config.computed import pin_computed, pin_macro
from tf_frozen.config.ranges import NonNegativeFloat, NonNegativeInt, PositiveInt, Seed
from tf_frozen.config.record import save_config
from tf_frozen.config.unused import drop_needed_only_by, out_of_use
from tf_frozen.data import magnification
from tf_frozen.data.category import Category
from tf_frozen.data.no_images import NoImages
from tf_frozen.data.pipeline import TrainBatches
from tf_frozen.data.reading import named
from tf_frozen.data.source import DataSource
from tf_frozen.detectors.detector import Detector
from tf_frozen.errors import ConfigError, DataError, RunError
from tf_frozen.evaluation.metric import Metric
from tf_frozen.feature_cache.cached_batches import CachedBatches
from tf_frozen.feature_cache.reader import CacheReader
from tf_frozen.freezing.policy import Policy
from tf_frozen.freezing.policy import as_dict as policy_as_dict
from tf_frozen.freezing.savings import savings
from tf_frozen.keras_flavor import keras
from tf_frozen.training import start_report
from tf_frozen.training.best import Best
from tf_frozen.training.builder import Builder
from tf_frozen.training.callbacks.checkpointing import Checkpointing
from tf_frozen.training.callbacks.every import Every
from tf_frozen.training.callbacks.finite_loss import FiniteLoss
from tf_frozen.training.callbacks.interrupt import StopOnInterrupt
from tf_frozen.training.callbacks.progress import Progress
from tf_frozen.training.callbacks.tensorboard import TensorBoard
from tf_frozen.training.callbacks.validate import Validate
from tf_frozen.training.checkpoint import HOLDS, Checkpoints
from tf_frozen.training.classes import check_same, check_scored
from tf_frozen.training.data_sets import read_all
from tf_frozen.training.environment import environment
from tf_frozen.training.length import Length, describe_start
from tf_frozen.training.parts import made_metrics, makes_data, makes_detector, makes_optimizer
from tf_frozen.training.precision import PRECISIONS
from tf_frozen.training.run_audit import RunAudit
from tf_frozen.training.run_config import KeepsConfiguration, in_configuration
from tf_frozen.training.run_directory import RunDirectory
from tf_frozen.training.schedules import log_schedule
from tf_frozen.training.scorer import Scorer
from tf_frozen.training.validation import Validation

_LOGGER = logging.getLogger(__name__)


@gin.configurable
class Run(Checked, metaclass=KeepsConfiguration):
    """Binds a detector, data and an optimizer to `model_dir`; each is built only when it is needed.

    `detector`, `train_data`, `val_data` and `optimizer` are instances, or callables without arguments (in gin: `@RCNN`,
    without parentheses). A run made in Python takes all that it is not given from `runs/train_on_coco_json.gin`. When
    its training starts, the whole configuration is written to config.gin, by which commands open the run. Raises
    ConfigError for a part that cannot be written.

    Without `train_steps`, `length` computes them from the data, and sets the macro TRAIN_STEPS too. The val split is
    scored every `evaluate_every` steps; 0 scores at the end only, None about ten times. `validation` sets the number of
    images, and whether the best checkpoint is kept. `precision` of the layers is 'float32', 'mixed_bfloat16' or
    'mixed_float16', whose loss is scaled; weights, losses, box coding and NMS keep float32. `checkpoints` hold
    'everything', or with 'trained' exclude frozen backbone weights that can be reloaded from their source.
    `feature_cache` is the folder of a cache that `tf-frozen cache` built with this configuration: steps read the
    backbone's features there and open no image. `policy` decides what trains, and until which step; with None the
    backbone's mode decides. `rates` are factors of the learning rate for parts, as ('backbone/.*', 0.1). `metrics` are
    instances, or callables without arguments, that score the val split; the headline of the first decides which
    checkpoint is the best. The default is COCO's.
    """

    def __init__(
        self,
        model_dir: str | os.PathLike,
        detector: Detector | Callable[[], Detector] = gin.REQUIRED,
        train_data: DataSource | Callable[[], DataSource] = gin.REQUIRED,
        val_data: DataSource | Callable[[], DataSource] = gin.REQUIRED,
        optimizer: keras.optimizers.Optimizer | Callable[[], keras.optimizers.Optimizer] = gin.REQUIRED,
        train_batches: Callable[..., TrainBatches] = TrainBatches,
        train_steps: PositiveInt | None = gin.REQUIRED,
        batch_size: PositiveInt = gin.REQUIRED,
        seed: Seed = 0,
        evaluate_every: NonNegativeInt | None = None,
        checkpoint_seconds: NonNegativeFloat = 60.0,
        precision: str = "float32",
        checkpoints: str = "trained",
        policy: Policy | None = None,
        feature_cache: str | None = None,
        length: Length | None = None,
        validation: Validation | None = None,
        rates: Sequence[tuple[str, NonNegativeFloat]] = (),
        metrics: Sequence[Metric | Callable[[], Metric]] = (),
    ):
        self.directory = RunDirectory(model_dir)
        self._train_data, self._val_data = makes_data(train_data), makes_data(val_data)
        self._train_batches = train_batches
        self.train_steps, self.batch_size, self.seed = train_steps, batch_size, seed
        self.evaluate_every, self.checkpoint_seconds = evaluate_every, checkpoint_seconds
        self.precision, self.checkpoints, self.feature_cache = precision, checkpoints, feature_cache
        # All arguments are given, so that gin gives none: its bindings are for what it makes itself.
        self._policy = policy or Policy(rules=(), until=None)
        self._length, self._validation = length, validation or Validation(images=None, keep_best=True, patience=None)
        self._metrics = made_metrics(metrics)
        self._scorer: Scorer | None = None
        self._best, self._stopped = Best(self.model_dir), False
        self._length_record: dict[str, Any] | None = None
        self.images_per_second: float | None = None  # of the last phase that `train` went through
        self.training_seconds, self.scoring_seconds = 0.0, 0.0  # of `train`, and of its scores within that time
        self._check_settings()
        parts = makes_detector(detector), makes_optimizer(optimizer)
        self._builder = Builder(self.directory, *parts, self._policy, rates, precision, checkpoints)
        self._audit = RunAudit(self.directory, self._builder, batch_size)

    @in_configuration
    def train(self, strict: bool = False) -> bool:
        """Trains from the last checkpoint to `train_steps`; False when Ctrl-C stopped it before.

        Raises DataError before the first step when any data is faulty, FreezeError when a frozen variable changed or
        the backbone cannot have been trained on such images, RunError when a loss part is not finite or the disk is
        full or another process trains in `model_dir`, ConfigError for an unused binding if `strict`.
        """
        with self.directory.lock:
            return self._train(strict)

    def _train(self, strict: bool) -> bool:
        train_data, val_data = read_all(self._train_data, self._val_data)
        self._check_classes(train_data)
        check_scored(val_data, train_data.categories, str(train_data))
        self._follow_data(train_data)
        keras.utils.set_random_seed(self.seed)
        detector, phases, checkpoints = self._builder.built
        step = checkpoints.restore_latest()
        batches = self._batches(train_data, detector)
        start_report.log_data(train_data, val_data, detector)
        self._complete(train_data, val_data, strict)
        self._audit.begin(batches, step)
        start_report.advise(detector, batches, step, self.train_steps)
        self.directory.write_magnification(magnification.of_training(self._image_batches(train_data, detector)))
        start_report.check_magnification(self.magnification, detector, val_data)
        start_report.check_tiles(detector, train_data)
        self._record(train_data.categories, step)
        log_schedule(detector.optimizer, self.train_steps)
        start_report.check_until(self._policy.until, self.train_steps)
        self._scorer = Scorer(detector, val_data, train_data.categories, self.model_dir, self.batch_size, self._metrics)
        if not step:
            self._best.forget()
        elif self._best.path is None:
            self._best.record = None  # one that cannot be read must not keep lower scores from being the best
        self._stopped = self._validation.exhausted(self._best.record)
        _LOGGER.info("%s", describe_start(step, self.train_steps, self.batch_size, len(train_data.examples)))
        while True:
            costs = start_report.log_phase(phases, detector, self.checkpoints)
            self.directory.write_policy(phases.begin, policy_as_dict(phases.decisions))
            end = phases.end(self.train_steps)
            if step < end and not self._stopped:
                start_report.log_time(detector, costs, batches, end - step, self.batch_size)
            finished = step >= end or self._stopped or self._fit(detector, checkpoints, batches, step, end)
            self._audit.finish(batches)
            if not finished or end == self.train_steps or self._stopped:
                return finished
            # Keras has left averages instead of weights.
            step = checkpoints.restore(f"ckpt-{end}")
            checkpoints.follow(self._builder.enter(step))
            self._audit.next_phase(batches)

    def _complete(self, train_data: DataSource, val_data: DataSource, strict: bool) -> None:
        """Makes the configuration one that can be saved: of parts that were made in Python too."""
        detector, optimizer = self._builder.built.detector, self._builder.new_optimizer()
        made = {"detector": detector, "train_data": train_data, "val_data": val_data, "optimizer": optimizer}
        self.configuration.complete(made, strict)

    def _follow_data(self, train_data: DataSource) -> None:
        """Gives macros that are computed, and `train_steps`, their values; a resumed run keeps those it has."""
        goes_on = self._has_checkpoint()
        pin_computed(self.directory.config() if goes_on else ())
        if self._length is None or self.train_steps is not None:
            return
        earlier = self.directory.length() if goes_on else None
        self._length_record = self._length.record(len(train_data.examples), self.batch_size, earlier)
        self.train_steps = self._length_record["steps"]
        pin_macro("TRAIN_STEPS", self.train_steps, "the length of the run")

    @in_configuration
    def feature_source(self) -> tuple[TrainBatches, Detector]:
        """Returns the inputs of a feature cache: the training batches, and the detector with its backbone."""
        (train_data,) = read_all(self._train_data)
        self._follow_data(train_data)
        keras.utils.set_random_seed(self.seed)  # as in `train`, so that random frozen weights are the same
        detector = self._builder.built.detector
        batches = self._image_batches(train_data, detector)
        start_report.advise(detector, batches, 0, self.train_steps)
        return batches, detector

    def _image_batches(self, train_data: DataSource, detector: Detector) -> TrainBatches:
        return self._train_batches(train_data, detector.frame, self.batch_size, self.seed)

    def _batches(self, train_data: DataSource, detector: Detector) -> TrainBatches | CachedBatches:
        batches = self._image_batches(train_data, detector)
        if self.feature_cache is None:
            return batches
        if self._policy.until and detector.backbone.mode not in ("frozen", "frozen_random"):
            raise ConfigError(
                f"Run.feature_cache is {self.feature_cache!r}, but Policy.until is {self._policy.until}: from that "
                f"step on the backbone trains (mode {detector.backbone.mode!r}) and its features change. Leave one out."
            )
        return CachedBatches(batches, CacheReader(self.feature_cache, batches, detector))

    @in_configuration
    def evaluate(self, checkpoint: str | None = None) -> Scorer:
        """Scores the val split with the best checkpoint, or with the one named; adds to metrics.jsonl."""
        scorer = self._scorer
        if scorer is None:
            (val_data,) = read_all(self._val_data)
            check_scored(val_data, self.categories, str(self.directory.classes_path))
        detector, step = self._restored(checkpoint)
        if scorer is None:
            start_report.check_magnification(self.magnification, detector, val_data)
            scorer = Scorer(detector, val_data, self.categories, self.model_dir, self.batch_size, self._metrics)
        scorer.score(step)
        return scorer

    @in_configuration
    def restored_detector(self, checkpoint: str | None = None) -> Detector:
        """The trained detector, of the best checkpoint or of the one named, with averages where the run keeps them.

        The best is that of the highest score while it trained; the latest where there was none.
        """
        return self._restored(checkpoint)[0]

    def _restored(self, checkpoint: str | None) -> tuple[Detector, int]:
        """The detector of that checkpoint, by default of the best or else of the latest one, and its step."""
        if checkpoint:
            return self._builder.restored(checkpoint)
        best = self._best.path if self._validation.keep_best else None
        detector, step = self._builder.restored(best)
        if best:
            record = self._best.record
            score = f"{record['metric']} {record['value']:.3f} on {record['images']} val images"
            _LOGGER.info("Taking step %d, the best of the run: %s.", step, score)
        else:
            _LOGGER.info("Taking step %d, the latest of the run.", step)
            self._warn_of_no_best(step)
        return detector, step

    def _warn_of_no_best(self, step: int) -> None:
        """Warns where the scores up to `step` should have left a best checkpoint."""
        every = self._validation.interval(self.evaluate_every, self.train_steps or 0)
        if self._validation.keep_best and 0 < every <= step and self._best.record is None:
            _LOGGER.warning(
                "There is no best checkpoint in %s, though this run is scored every %d steps; the latest one need not "
                "be its best.",
                self.directory.best,
                every,
            )

    @in_configuration
    def audit(self) -> dict[str, Any]:
        """Audits the latest checkpoint and a step traced from it; returns the content of freezing.json."""
        batches = self._train_batches(NoImages(), self._builder.built.detector.frame, self.batch_size, self.seed)
        return self._audit.report(batches.crop)

    @in_configuration
    def parameters(self) -> dict[str, float]:
        """Parameters of the detector: total, trainable, frozen, trainable_percent."""
        return savings(self._builder.built.detector, count_flops=False)["parameters"]

    @property
    def model_dir(self) -> Path:
        """The run's folder."""
        return self.directory.path

    @property
    def categories(self) -> list[Category]:
        """The classes that the run was trained on; RunError before its training began."""
        return self.directory.classes()

    @property
    def magnification(self) -> dict[str, Any] | None:
        """The magnification of the training images (`magnification.of_training`); None if it is not recorded."""
        return self.directory.magnification()

    def _validate(self, checkpoints: Checkpoints, interrupt: StopOnInterrupt) -> Validate:
        every = self._validation.interval(self.evaluate_every, self.train_steps)
        few = self._scorer.few(self._validation.images_of(every, self.batch_size, len(self._scorer.examples)))
        return Validate(every, self.train_steps, few, self._best, checkpoints, self._validation, interrupt.at_once)

    def _fit(self, detector, checkpoints, batches: TrainBatches, step: int, end: int) -> bool:
        interrupt = StopOnInterrupt(self.train_steps)
        validate = self._validate(checkpoints, interrupt)
        progress = Progress(self.train_steps, self.batch_size)
        callbacks = [
            FiniteLoss(batches.image_ids),
            Every(1, lambda now: self.directory.lock.check()),
            progress,
            TensorBoard(str(self.directory.tensorboard), self.batch_size),
            Checkpointing(checkpoints, self.checkpoint_seconds),
            validate,
            interrupt,
        ]
        started = time.monotonic()
        try:
            with interrupt, progress, named(batches.source):
                try:
                    detector.fit(batches.dataset(step, end), callbacks=callbacks, verbose=0)
                except tf.errors.OpError as error:
                    # TensorFlow replaces the error that names the unreadable file of the cache.
                    raise getattr(batches, "failure", None) or error from error
        except DataError:
            checkpoints.save()  # the step whose image cannot be read has changed nothing
            raise
        self.training_seconds += time.monotonic() - started
        self.scoring_seconds += validate.seconds
        self.images_per_second, self._stopped = progress.images_per_second, validate.stopped
        return not interrupt.interrupted

    def _record(self, categories: list[Category], step: int) -> None:
        """Writes all that the other commands need to the run directory."""
        # The saved configuration must build the same heads where the training annotations are out of reach.
        pin_macro("NUM_CLASSES", len(categories), "the number of categories of the training data")
        if step:
            drop_needed_only_by(out_of_use())  # as `save_config` did for the lines that are compared
            start_report.log_changes(self.directory.config())
        save_config(str(self.model_dir))
        self.directory.write_classes(categories)
        self.directory.write_environment(environment())
        if self._length_record:
            self.directory.write_length(self._length_record)
        self._audit.write()

    def _check_classes(self, train_data: DataSource) -> None:
        """Raises DataError where a run that has been saved was trained on other classes."""
        if not self._has_checkpoint():
            return
        try:
            known = self.categories
        except RunError as error:
            _LOGGER.warning("%s\nWhether the data have the classes that this run was trained on is not checked.", error)
        else:
            check_same(train_data, known, str(self.directory.classes_path))

    def _has_checkpoint(self) -> bool:
        return any(self.directory.checkpoints.glob("ckpt-*.index"))

    def _check_settings(self) -> None:
        """Raises ConfigError where there is no length, and for a setting that is not one of the choices."""
        if self.train_steps is None and self._length is None:
            raise ConfigError("Run.train_steps is None; give the number of steps, or a Length as Run.length.")
        for name, choices in (("precision", PRECISIONS), ("checkpoints", HOLDS)):
            value = getattr(self, name)
            if value not in choices:
                raise ConfigError(f"Run.{name} is {value!r}; it must be one of {', '.join(choices)}.")
