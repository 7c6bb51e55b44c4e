"""The files of a run's folder: written whole or not at all, and read with errors that name the file and what to do."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tf_frozen.data.category import Category
from tf_frozen.errors import RunError
from tf_frozen.files import write_atomic
from tf_frozen.training.run_lock import RunLock

_AGAIN = "Restore it from a copy, or run its `tf-frozen train` command again, which writes a new one."
_LOGGER = logging.getLogger(__name__)


class RunDirectory:
    """A run's folder, `path`; `lock` keeps other processes from training in it.

    classes.json       [{id, name}, ...]: class k is row k − 1
    freezing.json      Audit.as_dict(), left_out {variables, source} and, where an earlier record was lost, proven_from
    magnification.json what `magnification.of_training` gives
    policy.json        what trains, and the step from which on
    environment.json   versions, devices and the command line
    metrics.jsonl      one JSON object a scoring: step and metrics
    config.gin         the configuration that other commands read, written by `experiment`
    """

    def __init__(self, path: str | Path):
        self.path = Path(path).expanduser()
        self.lock = RunLock(self.path)

    def write(self, name: str, content: object) -> None:
        """Writes a JSON file; RunError where it cannot."""
        write_atomic(str(self.path / name), json.dumps(content, indent=1) + "\n")

    def classes(self) -> list[Category]:
        """The classes that the run was trained on; RunError where classes.json is missing or damaged."""
        rows = self._read("classes.json")
        try:
            categories = [Category(row["id"], row["name"]) for row in rows]
            if categories and all(type(c.id) is int and isinstance(c.name, str) for c in categories):
                return categories
        except (TypeError, KeyError):
            pass
        raise RunError(f"{self.path / 'classes.json'} is not a list of {{id, name}} rows. {_AGAIN}")

    def freezing(self) -> dict[str, Any]:
        """The record of what was frozen; RunError where freezing.json is missing or damaged."""
        content = self._read("freezing.json")
        if not _is_freezing(content):
            raise RunError(f"{self.path / 'freezing.json'} is not an audit's record. {_AGAIN}")
        return content

    def left_out(self) -> dict[str, Any]:
        """How many variables the run's checkpoints leave out, and their source; none where that is not known."""
        unknown = {"variables": 0, "source": None}
        try:
            return unknown | self.freezing().get("left_out", {})
        except RunError:
            return unknown

    def magnification(self) -> dict[str, Any] | None:
        """How large the training images were shown; None, with a warning, where magnification.json is damaged."""
        path = self.path / "magnification.json"
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
        if not (self.path / "length.json").exists():
            return None
        try:
            content = self._read("length.json")
            if isinstance(content, dict) and type(content.get("steps")) is int:
                return content
            error = "it has no steps"
        except RunError as damaged:
            error = damaged
        path = self.path / "length.json"
        _LOGGER.warning("%s is not used: %s. The length is computed again from the data.", path, error)
        return None

    def config(self) -> list[str]:
        """The lines of config.gin; none where there is none that can be read."""
        try:
            return (self.path / "config.gin").read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError):
            return []

    def add_metrics(self, step: int, metrics: Mapping[str, float | None]) -> None:
        """Adds a line to metrics.jsonl; logs a warning where it cannot, as the scores are worth more than the file."""
        path = self.path / "metrics.jsonl"
        try:
            with open(path, "a", encoding="utf-8") as file:
                file.write(json.dumps({"step": step, **metrics}) + "\n")
        except OSError as error:
            _LOGGER.warning("The scores of step %d are not added to %s: %s.", step, path, error.strerror or error)

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
