"""The files of a run's folder: written whole or not at all, and read with errors that name the file and what to do."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tf_frozen.data.category import Category
from tf_frozen.errors import RunError
from tf_frozen.files import write_atomic
from tf_frozen.training.run_lock import RunLock

CLASSES = "classes.json"
FREEZING = "freezing.json"
MAGNIFICATION = "magnification.json"
POLICY = "policy.json"
ENVIRONMENT = "environment.json"
LENGTH = "length.json"
BEST = "best.json"
METRICS = "metrics.json"
SCORES = "metrics.jsonl"
SUMMARY = "summary.json"
_BEST_TYPES = {"step": (int,), "metric": (str,), "value": (int, float), "images": (int,), "since": (int,)}
_AGAIN = "Restore it from a copy, or run its `tf-frozen train` command again, which writes a new one."
_LOGGER = logging.getLogger(__name__)


class RunDirectory:
    """A run's folder, `path`; `lock` keeps other processes from training in it.

    classes.json       [{id, name, ...}, ...]: class k is row k − 1
    freezing.json      Audit.as_dict(), left_out {variables, source} and, where an earlier record was lost, proven_from
    magnification.json what `magnification.of_training` gives
    policy.json        what trains, and the step from which on
    environment.json   versions, devices and the command line
    length.json        steps and what they were computed from, for a run with a Length
    metrics.jsonl      one JSON object a scoring: step and metrics
    metrics.json       the metrics of `tf-frozen evaluate`
    summary.json       the figures with which `tf-frozen train` ends
    config.gin         the configuration that other commands read, written by `save_config`
    checkpoints/       the latest ones
    best/              the one that scored best, and best.json {step, metric, value, images, since}, see Best
    predictions/       results.json and drawn pictures
    tensorboard/       scalars and pictures
    saved_model/       the export
    """

    def __init__(self, path: str | Path):
        self.path = Path(path).expanduser()
        self.lock = RunLock(self.path)

    @property
    def best(self) -> Path:
        """The folder of the checkpoint that scored best."""
        return self.path / "best"

    @property
    def checkpoints(self) -> Path:
        """The folder of the latest checkpoints."""
        return self.path / "checkpoints"

    @property
    def predictions(self) -> Path:
        """The folder of what was found on the val images."""
        return self.path / "predictions"

    @property
    def tensorboard(self) -> Path:
        """The folder that TensorBoard reads."""
        return self.path / "tensorboard"

    @property
    def saved_model(self) -> Path:
        """The folder of the exported detector."""
        return self.path / "saved_model"

    @property
    def classes_path(self) -> Path:
        """The file of the classes, for messages that name it."""
        return self.path / CLASSES

    def write_classes(self, categories: Sequence[Category]) -> None:
        """Writes the classes that the run is trained on; RunError where it cannot, as for all that is written."""
        self._write(CLASSES, [category._asdict() for category in categories])

    def write_freezing(self, audit: Mapping[str, Any], left_out: Mapping[str, Any], proven_from: int) -> None:
        """Writes the record of what is frozen: Audit.as_dict() and what checkpoints leave out.

        `proven_from` is the step from which on it is proven, above 0 where an earlier record was lost.
        """
        self._write(FREEZING, {**audit, "left_out": left_out, "proven_from": proven_from})

    def write_magnification(self, content: Mapping[str, float]) -> None:
        """Writes how large the training images are shown."""
        self._write(MAGNIFICATION, content)

    def write_policy(self, from_step: int, decisions: Mapping[str, Any]) -> None:
        """Writes what trains from that step on: `policy.as_dict`."""
        self._write(POLICY, {"from_step": from_step, **decisions})

    def write_environment(self, content: Mapping[str, Any]) -> None:
        """Writes versions, devices and the command line."""
        self._write(ENVIRONMENT, content)

    def write_length(self, record: Mapping[str, Any]) -> None:
        """Writes the length that the run begins with: `Length.record`."""
        self._write(LENGTH, record)

    def write_best(self, record: Mapping[str, Any]) -> None:
        """Writes which checkpoint scored best."""
        self._write(f"{self.best.name}/{BEST}", record)

    def write_metrics(self, metrics: Mapping[str, float | None]) -> None:
        """Writes the metrics of the last scoring."""
        self._write(METRICS, metrics)

    def write_summary(self, figures: Mapping[str, Any]) -> None:
        """Writes the figures of a whole job."""
        self._write(SUMMARY, figures)

    def classes(self) -> list[Category]:
        """The classes that the run was trained on; RunError where classes.json is missing or damaged."""
        rows = self._read(CLASSES)
        try:
            categories = [Category(row["id"], row["name"]) for row in rows]
            if categories and all(type(c.id) is int and isinstance(c.name, str) for c in categories):
                return categories
        except (TypeError, KeyError):
            pass
        raise RunError(f"{self.classes_path} is not a list of {{id, name}} rows. {_AGAIN}")

    def freezing(self) -> dict[str, Any]:
        """The record of what was frozen; RunError where freezing.json is missing or damaged."""
        content = self._read(FREEZING)
        if not _is_freezing(content):
            raise RunError(f"{self.path / FREEZING} is not an audit's record. {_AGAIN}")
        return content

    def left_out(self) -> dict[str, Any]:
        """How many variables the run's checkpoints leave out, and their source; None for what is not known."""
        unknown = {"variables": None, "source": None}
        try:
            return unknown | self.freezing().get("left_out", {})
        except RunError:
            return unknown

    def magnification(self) -> dict[str, Any] | None:
        """How large the training images were shown; None, with a warning, where magnification.json is damaged."""
        path = self.path / MAGNIFICATION
        if not path.is_file():
            return None
        with contextlib.suppress(RunError, AttributeError):
            content = self._read(path.name)
            if content == {} or all(type(content.get(end)) in (int, float) for end in ("low", "high")):
                return content
        _LOGGER.warning("%s is damaged: images are not compared with the magnification of the training images.", path)
        return None

    def length(self) -> dict[str, Any] | None:
        """The length that the run began with; None where it has none, or with a warning where that is damaged."""
        path = self.path / LENGTH
        if not path.exists():
            return None
        try:
            content = self._read(LENGTH)
            if isinstance(content, dict) and type(content.get("steps")) is int:
                return content
            error = "it has no steps"
        except RunError as damaged:
            error = damaged
        _LOGGER.warning("%s is not used: %s. The length is computed again from the data.", path, error)
        return None

    def best_record(self) -> dict[str, Any] | None:
        """Which checkpoint scored best; None before the first score, or with a warning where best.json is damaged."""
        path = self.best / BEST
        if not path.is_file():
            return None
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            values = {name: record[name] for name in _BEST_TYPES}
            if all(type(values[name]) in types for name, types in _BEST_TYPES.items()):
                return values
            error = "its values are of other types"
        except (OSError, ValueError, TypeError, LookupError, RecursionError) as unreadable:
            error = unreadable
        _LOGGER.warning("%s cannot be read (%s): the run has no best checkpoint until its next score.", path, error)
        return None

    def config(self) -> list[str]:
        """The lines of config.gin; none where there is none that can be read."""
        try:
            return (self.path / "config.gin").read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError):
            return []

    def add_metrics(self, step: int, metrics: Mapping[str, float | None]) -> None:
        """Adds a line to metrics.jsonl; logs a warning where it cannot, as the scores are worth more than the file."""
        path = self.path / SCORES
        try:
            with open(path, "a", encoding="utf-8") as file:
                file.write(json.dumps({"step": step, **metrics}) + "\n")
        except OSError as error:
            _LOGGER.warning("The scores of step %d are not added to %s: %s.", step, path, error.strerror or error)

    def _write(self, name: str, content: object) -> None:
        write_atomic(str(self.path / name), json.dumps(content, indent=1) + "\n")

    def _read(self, name: str) -> Any:
        path = self.path / name
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise RunError(f"{self.path} is not a complete run: it has no {name}. {_AGAIN}") from error
        except (OSError, ValueError, RecursionError) as error:
            raise RunError(f"{path} cannot be read: {error}. {_AGAIN}") from error


def _is_freezing(content: Any) -> bool:
    """Whether it has the parts of freezing.json that are read again, each of its type."""
    try:
        fingerprints, left_out = content["start"]["fingerprints"], content.get("left_out", {"variables": 0})
        return (
            all(isinstance(value, str) for value in fingerprints.values())
            and isinstance(left_out["variables"], int)
            and isinstance(content["from_step"], int)
            and isinstance(content.get("proven_from", 0), int)
            and isinstance(content.get("phases", []), list)
        )
    except (TypeError, KeyError, AttributeError):
        return False
