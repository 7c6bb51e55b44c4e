"""Ranges of numbers as annotations: a parameter `filters: PositiveInt` is checked wherever it is given a value."""

from __future__ import annotations

from typing import Annotated, NamedTuple

import numpy as np

_INT32 = 2**31 - 1  # of TensorFlow's sizes, counts and seeds
_FLOAT32 = float(np.finfo(np.float32).max)


class Range(NamedTuple):
    """The numbers from `least` to `most`, which `above` and `below` exclude; never NaN, infinity, or beyond float32.

    `value in range` checks a number.
    """

    least: float
    most: float = _FLOAT32
    above: bool = False
    below: bool = False

    def __contains__(self, value: float) -> bool:
        """Whether a number is in the range."""
        return self.least <= value <= self.most and not (
            (self.above and value == self.least) or (self.below and value == self.most)
        )

    def describe(self, noun: str) -> str:
        """The numbers of the range in words, for a noun such as 'a number' or 'integers'."""
        if self.most >= _FLOAT32:
            least = "" if self.least <= -_FLOAT32 else f" {'above' if self.above else 'of at least'} {self.least:g}"
            return noun.replace("number", "finite number") + least
        if not self.above and not self.below:
            return f"{noun} from {self.least:g} to {self.most:.12g}"
        least, most = "above" if self.above else "from", "below" if self.below else "up to"
        return f"{noun} {least} {self.least:g} and {most} {self.most:g}"


PositiveInt = Annotated[int, Range(1, _INT32)]
NonNegativeInt = Annotated[int, Range(0, _INT32)]
LayerCount = Annotated[int, Range(0, 1000)]
PositiveLayerCount = Annotated[int, Range(1, 1000)]
Width = Annotated[int, Range(1, 2**16)]
Seed = Annotated[int, Range(0, _INT32)]
Frame = tuple[PositiveInt, PositiveInt]  # height and width in pixels
Level = Annotated[int, Range(0, 30)]
FiniteFloat = Annotated[float, Range(-_FLOAT32)]
PositiveFloat = Annotated[float, Range(0, above=True)]
NonNegativeFloat = Annotated[float, Range(0)]
Fraction = Annotated[float, Range(0, 1)]
PositiveFraction = Annotated[float, Range(0, 1, above=True)]
OpenFraction = Annotated[float, Range(0, 1, above=True, below=True)]
Rate = Annotated[float, Range(0, 1, below=True)]
