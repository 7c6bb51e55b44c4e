"""What a frozen backbone made of a batch, in the place of the images."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf


class Features(tf.experimental.BatchableExtensionType):
    """The taps of images [batch, *frame, 3], by level as text, and the frame's (height, width) in pixels.

    The maps do not tell the frame: a tap of 12 rows of stride 32 is one of 384 rows and of 380.
    """

    maps: Mapping[str, tf.Tensor]
    frame: tuple[int, int]

    @property
    def taps(self) -> dict[int, tf.Tensor]:
        """The maps by level, as a backbone gives them."""
        return {int(level): tap for level, tap in self.maps.items()}
