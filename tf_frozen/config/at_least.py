"""Computes numbers in gin files in proportion to another number."""

from __future__ import annotations

import math

import gin

from tf_frozen.config.checked import checked
from tf_frozen.config.ranges import NonNegativeFloat, NonNegativeInt


@gin.configurable
@checked
def at_least(least: NonNegativeInt, number: NonNegativeInt, times: NonNegativeFloat = 1.0) -> int:
    """Returns `times` the number, rounded up, but no less than `least`."""
    return max(least, math.ceil(times * number))
