"""The feature maps of a frozen backbone for a batch, instead of its images."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf


class Features(tf.experimental.BatchableExtensionType):
    """The feature maps of images [batch, *frame, 3], by level as str, and the frame's (height, width) in pixels.

    The maps do not determine the frame: a map of 12 rows of stride 32 is one of 384 rows and of 380.
    """

    maps: Mapping[str, tf.Tensor]
    frame: tuple[int, int]

    class Spec:
        """The type of features; tf.distribute divides a batch by the shape that this gives."""

        @property
        def shape(self) -> tf.TensorShape:
            """That of the batch alone, as maps differ in all else."""
            return next(iter(self.maps.values())).shape[:1]

    @property
    def pyramid(self) -> dict[int, tf.Tensor]:
        """The maps by level (int), as a backbone returns them."""
        return {int(level): features for level, features in self.maps.items()}
