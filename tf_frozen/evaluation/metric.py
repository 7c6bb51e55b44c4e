"""Base class of metrics, and the evaluation of several of them together."""

from __future__ import annotations

import abc
import math
from collections.abc import Mapping, Sequence
from typing import Any

from tf_frozen.errors import ConfigError

Figures = dict[str, float | None]


class Metric(abc.ABC):
    """Scores detections against a ground truth; a run takes several as `Run.metrics`.

    `names` are the figures that it always gives, the most important first: while a run trains, the first two of each
    metric are logged. `headline` is one of them: the best checkpoint is that of the largest headline of a run's first
    metric. `meanings` explain names in the table of scores; that of 'AP@n' is also that of 'AP@300'. A metric that
    `needs_masks` is for detectors that find masks.
    """

    names: Sequence[str]
    headline: str
    meanings: Mapping[str, str] = {}
    needs_masks = False

    @abc.abstractmethod
    def evaluate(self, ground_truth: dict, detections: Sequence[dict]) -> tuple[Figures, list[dict]]:
        """Returns all figures by name, and rows {category, and figures of that class}, which may be none.

        `ground_truth` is a COCO JSON, `detections` are rows of COCO results, [x, y, width, height] in pixels of the
        original images; neither may be changed. A figure is None where the ground truth does not give one.
        """


def check_metrics(metrics: Sequence[Metric]) -> None:
    """Raises ConfigError where a headline is not among the names, or two metrics give a figure of one name."""
    givers: dict[str, str] = {}
    for metric in metrics:
        kind = type(metric).__name__
        if metric.headline not in metric.names:
            raise ConfigError(f"{kind}.headline is {metric.headline!r}; it must be one of {', '.join(metric.names)}.")
        for name in metric.names:
            if name in givers:
                raise ConfigError(f"The metrics {givers[name]} and {kind} both give {name}. Omit one of them.")
            givers[name] = kind


def evaluate_all(
    metrics: Sequence[Metric], ground_truth: dict, detections: Sequence[dict]
) -> tuple[Figures, list[dict]]:
    """Returns the figures and the rows of all metrics, as `Metric.evaluate` does; NaN becomes None.

    Raises ConfigError where a metric omits a figure of its `names`.
    """
    figures: Figures = {}
    classes: dict[str, dict] = {}
    for metric in metrics:
        found, rows = metric.evaluate(ground_truth, detections)
        missing = [name for name in metric.names if name not in found]
        if missing:
            raise ConfigError(f"{type(metric).__name__}.evaluate gave no {', '.join(missing)}, of its names.")
        figures |= {name: _plain(value) for name, value in found.items()}
        for row in rows:
            classes.setdefault(row["category"], {}).update(row)
    return figures, list(classes.values())


def _plain(value: Any) -> float | None:
    """A figure as JSON can hold it."""
    return None if value is None or not math.isfinite(value) else float(value)
