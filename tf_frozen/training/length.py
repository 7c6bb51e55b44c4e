"""Computes the length of a run from the number of its images."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import gin

from tf_frozen.config.checked import Checked
from tf_frozen.config.ranges import PositiveFloat, PositiveInt
from tf_frozen.errors import ConfigError


@gin.configurable
class Length(Checked):
    """`epochs` passes over the training images, but at least `least` and, unless None, at most `most` steps.

    Raises ConfigError for values out of range.
    """

    def __init__(self, epochs: PositiveFloat = gin.REQUIRED, least: PositiveInt = 1, most: PositiveInt | None = None):
        if most is not None and most < least:
            raise ConfigError(f"Length.most is {most}, which is below Length.least, {least}.")
        self.epochs, self.least, self.most = epochs, least, most

    def steps(self, images: int, batch_size: int) -> int:
        """The steps of `batch_size` images of a run on that number of `images`."""
        wanted = max(self.least, math.ceil(self.epochs * images / batch_size))
        return wanted if self.most is None else min(wanted, self.most)

    def record(self, images: int, batch_size: int, earlier: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Returns the length as JSON; 'steps' are those of `earlier`, the record of a run, if the settings are equal.

        So a resumed run keeps its length, whatever images were added to its data.
        """
        settings = {"epochs": self.epochs, "least": self.least, "most": self.most, "batch_size": batch_size}
        if earlier is not None and settings.items() <= earlier.items():
            return dict(earlier)
        return {"steps": self.steps(images, batch_size), "images": images, **settings}


def describe_start(step: int, steps: int, batch_size: int, images: int) -> str:
    """The message with which a run of `steps` steps on `images` images starts, or resumes after `step` steps."""
    if step > steps:
        return f"This run has trained {step} steps, more than the {steps} of Run.train_steps; it is not trained on."
    if step == steps:
        return f"This run has trained all its {step} steps."
    how = f"Resuming from step {step}" if step else "Starting"
    epochs = f"{steps * batch_size / images:.3g} epochs of {images} images"
    return f"{how}: {steps} steps of {batch_size} images in all, {epochs}."
