"""One experiment in one directory: trained, resumed, scored and restored from there."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import gin
import tensorflow as tf

from tf_frozen import experiment
from tf_frozen.data import magnification
from tf_frozen.data.annotations import Category, CocoJson
from tf_frozen.data.cached_batches import CachedBatches
from tf_frozen.data.pipeline import TrainBatches
from tf_frozen.data.reading import named
from tf_frozen.data.summary import table as summary_table
from tf_frozen.detectors.detector import Detector
from tf_frozen.errors import ConfigError, DataError, FreezeError, RunError
from tf_frozen.freezing.advice import advice, advice_on_batch
from tf_frozen.freezing.audit import Audit
from tf_frozen.freezing.feature_cache.reader import CacheReader
from tf_frozen.freezing.policy import Policy
from tf_frozen.freezing.policy import as_dict as policy_as_dict
from tf_frozen.freezing.policy import table as policy_table
from tf_frozen.freezing.savings import savings, table
from tf_frozen.freezing.traced_step import trace
from tf_frozen.keras_flavor import keras
from tf_frozen.layers.building import build
from tf_frozen.training.best import Best
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
from tf_frozen.training.length import Length, begun
from tf_frozen.training.optimizers import build_optimizer
from tf_frozen.training.phases import Phases
from tf_frozen.training.precision import PRECISIONS, precision_of_layers
from tf_frozen.training.run_directory import RunDirectory
from tf_frozen.training.schedules import log_schedule
from tf_frozen.training.scorer import Scorer
from tf_frozen.training.settings import check_choice, check_seconds, check_whole
from tf_frozen.training.strategy import default_strategy
from tf_frozen.training.validation import Validation

_LOGGER = logging.getLogger(__name__)


@gin.configurable
class Run:
    """Binds a detector, data and an optimizer to `model_dir`; each is built only when a command needs it.

    `detector`, `train_data`, `val_data` and `optimizer` are called without arguments (in gin: `@RCNN`, with no
    parentheses). Without `train_steps`, `length` gives them once the data are known, as the macro TRAIN_STEPS too. The
    val split is scored every `evaluate_every` steps, 0 for at the end only; None is about ten times. `validation` says
    on how many images, and what becomes of the best checkpoint. `precision` is what
    layers compute in: 'float32', 'mixed_bfloat16' or 'mixed_float16', whose loss is scaled; weights, losses, box coding
    and NMS keep float32. `checkpoints` is what they hold: 'trained' leaves out frozen weights of the backbone that can
    be read again from where they came from, 'everything' nothing. `feature_cache` is the folder of a cache that
    `tf-frozen cache` made of this configuration: steps read the backbone's features there and open no image.
    `policy` decides what trains, and until which step; None is what gin binds for Policy: the backbone's mode alone, if
    nothing. `rates` are factors of the learning rate for parts, as ('backbone/.*', 0.1).
    """

    def __init__(
        self,
        model_dir: str,
        detector: Callable[[], Detector] = gin.REQUIRED,
        train_data: Callable[[], CocoJson] = gin.REQUIRED,
        val_data: Callable[[], CocoJson] = gin.REQUIRED,
        optimizer: Callable[[], keras.optimizers.Optimizer] = gin.REQUIRED,
        train_batches: Callable[..., TrainBatches] = TrainBatches,
        train_steps: int | None = gin.REQUIRED,
        batch_size: int = gin.REQUIRED,
        seed: int = 0,
        evaluate_every: int | None = None,
        checkpoint_seconds: float = 60.0,
        precision: str = "float32",
        checkpoints: str = "trained",
        policy: Policy | None = None,
        feature_cache: str | None = None,
        length: Length | None = None,
        validation: Validation | None = None,
        rates: Sequence[tuple[str, float]] = (),
    ):
        self.directory = RunDirectory(model_dir)
        self._new_detector, self._new_optimizer = detector, optimizer
        self._train_data, self._val_data, self._train_batches = train_data, val_data, train_batches
        self.train_steps, self.batch_size, self.seed = train_steps, batch_size, seed
        self.evaluate_every, self.checkpoint_seconds = evaluate_every, checkpoint_seconds
        self.precision, self.checkpoints, self.feature_cache = precision, checkpoints, feature_cache
        self._policy, self._rates = Policy() if policy is None else policy, rates
        self._left_out: dict[str, Any] = {}
        self._proven_from = 0
        self._length, self._validation = length, Validation() if validation is None else validation
        self._scorer: Scorer | None = None
        self._best, self._stopped = Best(self.model_dir), False
        self._length_record: dict[str, Any] | None = None
        self.images_per_second: float | None = None  # of the last phase that `train` went through
        self._check_settings()
        self._strategy = default_strategy()

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
        check_scored(val_data, train_data.categories, train_data.annotations_path)
        self._follow_data(train_data)
        keras.utils.set_random_seed(self.seed)
        detector, phases, checkpoints = self._built
        step = checkpoints.restore_latest()
        batches = self._batches(train_data, detector)
        frame = detector.frame
        _LOGGER.info("%s", summary_table({"train": train_data.summary(frame), "val": val_data.summary(frame)}))
        audit = self._audit(phases, batches, self._earlier(step) if step else None)
        experiment.report_unused(strict)
        self._advise(detector, batches, step)
        self.directory.write("magnification.json", magnification.of_training(self._image_batches(train_data, detector)))
        self._warn_of_magnification(detector, val_data)
        self._record(train_data.categories, audit, step)
        log_schedule(detector.optimizer, self.train_steps)
        if (self._policy.until or 0) >= self.train_steps:
            _LOGGER.warning(
                f"Policy.until is {self._policy.until}, which this run of {self.train_steps} steps does not reach: the "
                "rules of Policy.rules hold to its end."
            )
        self._scorer = Scorer(detector, val_data, train_data.categories, self.model_dir, self.batch_size)
        if not step:
            self._best.forget()
        self._stopped = self._validation.exhausted(self._best.record)
        _LOGGER.info("%s", begun(step, self.train_steps, self.batch_size, len(train_data.examples)))
        while True:
            self._log_phase(phases, detector)
            end = phases.end(self.train_steps)
            finished = step >= end or self._stopped or self._fit(detector, checkpoints, batches, step, end)
            self._finish(audit, detector, checkpoints, batches)
            if not finished or end == self.train_steps or self._stopped:
                return finished
            # Keras has left averages instead of weights.
            step = checkpoints.restore(f"ckpt-{end}")
            checkpoints.follow(self._enter(phases)(step))
            audit = self._audit(phases, batches, audit.as_dict())

    def _earlier(self, step: int) -> dict[str, Any] | None:
        """The record of what was frozen up to `step`; where it is lost, the proof starts anew there, and says so."""
        try:
            earlier = self.directory.freezing()
        except RunError as error:
            lost = (
                f"That nothing frozen changed before step {step} can't be proven any more; the proof starts anew there."
            )
            _LOGGER.warning("%s\n%s", error, lost)
            self._proven_from = step
            return None
        self._proven_from = earlier.get("proven_from", 0)
        return earlier

    def _follow_data(self, train_data: CocoJson) -> None:
        """Gives macros that are computed, and `train_steps`, their values; a run that goes on keeps those it has."""
        goes_on = self._has_checkpoint()
        experiment.pin_computed(self.directory.config() if goes_on else ())
        if self._length is None or self.train_steps is not None:
            return
        earlier = self.directory.length() if goes_on else None
        self._length_record = self._length.record(len(train_data.examples), self.batch_size, earlier)
        self.train_steps = self._length_record["steps"]
        experiment.pin_macro("TRAIN_STEPS", self.train_steps, "the length of the run")

    def _audit(self, phases: Phases, batches: TrainBatches | CachedBatches, earlier: dict | None) -> Audit:
        """The audit of a phase, which has looked into its step before that runs."""
        detector = self._built[0]
        audit = Audit(detector, detector.optimizer, earlier, from_step=phases.begin)
        try:
            with self._strategy.scope():
                audit.look_into(trace(detector, self.batch_size, batches.crop))
        except FreezeError:
            self._write_freezing(audit, self._built[2].summary())
            raise
        return audit

    def _finish(self, audit: Audit, detector: Detector, checkpoints: Checkpoints, batches: TrainBatches) -> None:
        """Ends the audit of a phase, and leaves it in the run directory."""
        # A phase that had no step left has traced none.
        step_function = detector.train_function and detector.train_function.get_concrete_function(
            iter(batches.dataset(0, 1))
        )
        try:
            audit.finish(step_function)
        finally:
            summaries = (self._left_out, checkpoints.summary())
            self._write_freezing(audit, max(summaries, key=lambda summary: summary["variables"]))
        frozen = audit.as_dict()["frozen_variables"]
        if frozen:
            _LOGGER.info("%d frozen variables are bit for bit what they were.", frozen)

    def _write_freezing(self, audit: Audit, left_out: dict[str, Any]) -> None:
        self._left_out = left_out
        more = {"left_out": left_out, "proven_from": self._proven_from}
        self.directory.write("freezing.json", audit.as_dict() | more)

    def _log_phase(self, phases: Phases, detector: Detector) -> None:
        """Says what trains from a step on and what that costs, and leaves it in the run directory."""
        _LOGGER.info("%s", table(savings(detector, detector.optimizer, checkpoints=self.checkpoints)))
        _LOGGER.info("What trains from step %d on:\n%s\n", phases.begin, policy_table(phases.decisions))
        self.directory.write("policy.json", {"from_step": phases.begin, **policy_as_dict(phases.decisions)})

    def feature_source(self) -> tuple[TrainBatches, Detector]:
        """What a feature cache is made of: the training batches, and the detector whose backbone they go through."""
        (train_data,) = read_all(self._train_data)
        self._follow_data(train_data)
        keras.utils.set_random_seed(self.seed)  # as in `train`, so that random frozen weights are the same
        detector = self._built[0]
        batches = self._image_batches(train_data, detector)
        self._advise(detector, batches, 0)
        return batches, detector

    def _image_batches(self, train_data: CocoJson, detector: Detector) -> TrainBatches:
        return self._train_batches(train_data.examples, detector.frame, self.batch_size, self.seed)

    def _batches(self, train_data: CocoJson, detector: Detector) -> TrainBatches | CachedBatches:
        batches = self._image_batches(train_data, detector)
        if self.feature_cache is None:
            return batches
        if self._policy.until and detector.backbone.mode not in ("frozen", "frozen_random"):
            raise ConfigError(
                f"Run.feature_cache is {self.feature_cache!r}, but Policy.until is {self._policy.until}: from that "
                f"step on the backbone trains (mode {detector.backbone.mode!r}) and its features change. Leave one out."
            )
        return CachedBatches(batches, CacheReader(self.feature_cache, batches, detector))

    def evaluate(self, checkpoint: str | None = None) -> Scorer:
        """Scores the val split with the best checkpoint, or with the one named; adds to metrics.jsonl."""
        scorer = self._scorer
        if scorer is None:
            (val_data,) = read_all(self._val_data)
            check_scored(val_data, self.categories, str(self.model_dir / "classes.json"))
        detector, step = self._restored(checkpoint or self._best_path())
        if scorer is None:
            self._warn_of_magnification(detector, val_data)
            scorer = Scorer(detector, val_data, self.categories, self.model_dir, self.batch_size)
        scorer.score(step)
        return scorer

    def restored_detector(self, checkpoint: str | None = None) -> Detector:
        """The trained detector, of the best checkpoint or of the one named, with averages where the run keeps them.

        The best is that of the highest score while it trained; the latest where there was none.
        """
        return self._restored(checkpoint or self._best_path())[0]

    def _best_path(self) -> str | None:
        path = self._best.path if self._validation.keep_best else None
        if path:
            record = self._best.record
            score = f"{record['metric']} {record['value']:.3f} on {record['images']} val images"
            _LOGGER.info("Taking step %d, the best of the run: %s.", record["step"], score)
        return path

    def audit(self) -> dict[str, Any]:
        """What the audit finds in the latest checkpoint and in a step traced from it: the content of freezing.json."""
        earlier = self.directory.freezing()
        detector, step = self._restored(None)
        audit = Audit(detector, detector.optimizer, earlier, from_step=self._built[1].begin, raises=False)
        crop = self._train_batches([], detector.frame, self.batch_size, self.seed).crop
        with self._strategy.scope():
            audit.finish(trace(detector, self.batch_size, crop))
        return audit.as_dict() | {"step": step, "proven_from": earlier.get("proven_from", 0)}

    def parameters(self) -> dict[str, float]:
        """Parameters of the detector: total, trainable, frozen, trainable_percent."""
        return savings(self._built[0], count_flops=False)["parameters"]

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
        """What `magnification.of_training` gave for the training images; None for a run without it."""
        return self.directory.magnification()

    def _warn_of_magnification(self, detector: Detector, val_data: CocoJson) -> None:
        tiles = detector.tiles and detector.tiles.magnification
        check = magnification.MagnificationCheck(self.magnification, detector.frame, tiles)
        for example in val_data.examples:
            check.add(example.path, example.height, example.width)
        if check.warning:
            _LOGGER.warning("%s", check.warning)

    @cached_property
    def _built(self) -> tuple[Detector, Phases, Checkpoints]:
        with self._strategy.scope(), precision_of_layers(self.precision):
            detector = self._new_detector()
            build(detector)
            phases = Phases(detector, self._policy, self._scaled_optimizer, self._rates)
            checkpoints = Checkpoints(
                str(self.model_dir), detector, detector.optimizer, holds=self.checkpoints, enter=self._enter(phases)
            )
            return detector, phases, checkpoints

    def _enter(self, phases: Phases) -> Callable[[int], keras.optimizers.Optimizer]:
        def enter(step: int) -> keras.optimizers.Optimizer:
            with self._strategy.scope(), precision_of_layers(self.precision):
                return phases.enter(step)

        return enter

    def _scaled_optimizer(self) -> keras.optimizers.Optimizer:
        optimizer = build_optimizer(self._new_optimizer)
        scaled = self.precision == "mixed_float16"
        return keras.mixed_precision.LossScaleOptimizer(optimizer) if scaled else optimizer

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
            TensorBoard(str(self.model_dir / "tensorboard"), self.batch_size),
            Checkpointing(checkpoints, self.checkpoint_seconds),
            validate,
            interrupt,
        ]
        try:
            # A cache's batches open no image.
            with interrupt, progress, named(getattr(batches, "examples", [])):
                try:
                    detector.fit(batches.dataset(step, end), callbacks=callbacks, verbose=0)
                except tf.errors.OpError as error:
                    # TensorFlow makes its own error of the one that says which file of a cache can't be read.
                    raise getattr(batches, "failure", None) or error from error
        except DataError:
            checkpoints.save()  # the step whose image cannot be read has changed nothing
            raise
        self.images_per_second, self._stopped = progress.images_per_second, validate.stopped
        return not interrupt.interrupted

    def _advise(self, detector: Detector, batches: TrainBatches, step: int) -> None:
        """Warns of what the paper and the first batch say against the configuration; FreezeError for a mistake."""
        lines = advice(detector, self.train_steps)
        if not step and not isinstance(batches, CachedBatches):  # a cache's images were looked at when it was made
            with named(batches.examples):
                images, targets = next(iter(batches.dataset(0, 1)))
            lines += advice_on_batch(detector, images, targets["image_size"])
        for line in lines:
            _LOGGER.warning("%s", line)

    def _restored(self, checkpoint: str | None) -> tuple[Detector, int]:
        detector, _, checkpoints = self._built_again()
        step = checkpoints.restore(checkpoint) if checkpoint else checkpoints.restore_latest()
        if not step:
            raise RunError(f"{self.model_dir} holds no checkpoint yet; `tf-frozen train` writes them.")
        optimizer = detector.optimizer
        if optimizer.use_ema:
            optimizer.finalize_variable_values(detector.trainable_variables)
        return detector, step

    def _built_again(self) -> tuple[Detector, Phases, Checkpoints]:
        """What `_built` gives; its ConfigError says too what can only be had from its source."""
        try:
            with experiment.explained():
                return self._built
        except ConfigError as error:
            left_out = self.directory.left_out()
            if not left_out["variables"]:
                raise
            raise ConfigError(
                f"{error}\nThe checkpoints of {self.model_dir} do not hold {left_out['variables']} frozen variables of "
                f"the backbone, which came from {left_out['source']}. Put that back, or say where it is now with "
                f"--gin_param. (A new run keeps them in its checkpoints by Run.checkpoints = 'everything'.)"
            ) from error

    def _record(self, categories: list[Category], audit: Audit, step: int) -> None:
        """Leaves in the run directory all that the other commands need."""
        # The saved configuration must build the same heads where the training annotations are out of reach.
        experiment.pin_macro("NUM_CLASSES", len(categories), "the number of categories of the training data")
        changes = self._changes() if step else []
        if changes:
            _LOGGER.warning("The configuration is not the one that this run had so far:\n  %s", "\n  ".join(changes))
        experiment.save(str(self.model_dir))
        self.directory.write("classes.json", [category._asdict() for category in categories])
        self.directory.write("environment.json", environment())
        if self._length_record:
            self.directory.write("length.json", self._length_record)
        self._write_freezing(audit, self._built[2].summary())

    def _check_classes(self, train_data: CocoJson) -> None:
        """Raises DataError where a run that has been saved was trained on other classes."""
        if not self._has_checkpoint():
            return
        try:
            known = self.categories
        except RunError as error:
            _LOGGER.warning("%s\nWhether the data have the classes that this run was trained on is not checked.", error)
        else:
            check_same(train_data, known, str(self.model_dir / "classes.json"))

    def _has_checkpoint(self) -> bool:
        return any(self.model_dir.glob("checkpoints/ckpt-*.index"))

    def _changes(self) -> list[str]:
        """What config.gin has and the present configuration lacks, '- NAME = value', and the other way round, '+'."""
        now = gin.config_str(max_line_length=110).splitlines()
        return [
            line
            for line in difflib.ndiff(self.directory.config(), now)
            if line[0] in "-+" and line[2:3] not in ("", "#")
        ]

    def _check_settings(self) -> None:
        """Raises ConfigError for a setting that is no number or out of range."""
        if self.train_steps is not None or self._length is None:
            check_whole("train_steps", self.train_steps, 1)
        if self.evaluate_every is not None:
            check_whole("evaluate_every", self.evaluate_every, 0)
        check_whole("batch_size", self.batch_size, 1)
        check_whole("seed", self.seed, 0)
        check_seconds("checkpoint_seconds", self.checkpoint_seconds)
        check_choice("precision", self.precision, PRECISIONS)
        check_choice("checkpoints", self.checkpoints, HOLDS)
