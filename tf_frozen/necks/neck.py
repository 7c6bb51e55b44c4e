"""Base class of necks: their output levels, and the check of the input pyramid."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import tensorflow as tf

from tf_frozen.config.ranges import Level, Width
from tf_frozen.errors import ConfigError
from tf_frozen.layers.configured import ConfiguredLayer


class Neck(ConfiguredLayer):
    """Maps a pyramid {level: [batch, h, w, channels]} to levels `min_level` … `max_level`, each of one width.

    Raises ConfigError when the levels are impossible, or when the pyramid does not fit them.
    """

    measured_on_frozen: str | None = None
    """A known drawback of this neck on a frozen backbone: a sentence with figures and their source."""

    def __init__(self, filters: Width, min_level: Level, max_level: Level, **kwargs):
        super().__init__(**kwargs)
        self.filters, self.min_level, self.max_level = filters, min_level, max_level
        self.levels = tuple(range(min_level, max_level + 1))
        if min_level > max_level:
            raise ConfigError(
                f"{self._kind}.min_level is {min_level} and max_level {max_level}; the first must not be above the "
                f"second."
            )

    # JSON has no numbers for keys: in a whole model that Keras saves to one file, the levels become words.

    def __call__(self, inputs: Mapping[int, tf.Tensor], *args, **kwargs) -> dict[int, tf.Tensor]:
        """Calls the layer as Keras does."""
        return super().__call__({int(level): x for level, x in inputs.items()}, *args, **kwargs)

    @property
    def _kind(self) -> str:
        return type(self).__name__

    def levels_in(self, pyramid: Mapping[int, tf.Tensor | tf.TensorShape]) -> list[int]:
        """The neck's levels that the backbone has; ConfigError unless they begin at `min_level` and have no gap."""
        found = [level for level in self.levels if level in pyramid]
        if self.min_level not in pyramid:
            raise ConfigError(
                f"{self._kind}.min_level is {self.min_level}, but the pyramid that came in has levels "
                f"{sorted(pyramid)}. Set {self._kind}.min_level to one of them, or let the backbone give level "
                f"{self.min_level}."
            )
        if found[-1] - found[0] >= len(found):
            raise ConfigError(
                f"The pyramid that came into {self._kind} has levels {sorted(pyramid)}; from min_level "
                f"{self.min_level} up it must have no gap."
            )
        return found

    def check_choice(self, name: str, value: str, known: Iterable[str]) -> None:
        """Raises ConfigError when the argument `name` is not one of the known words."""
        if value not in known:
            raise ConfigError(f"{self._kind}.{name} is {value!r}; it must be one of {', '.join(map(repr, known))}.")
