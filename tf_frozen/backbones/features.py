"""Features: the feature maps of a batch, which a backbone passes to the rest of a detector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Optional

import tensorflow as tf


class Features(tf.experimental.BatchableExtensionType):
    """The feature maps of images [batch, *frame, 3], by level as str, and the frame's (height, width) in pixels.

    The maps do not determine the frame: 12 rows of stride 32 may belong to 384 pixel rows or to 380. Where a backbone
    trains, `images` are the preprocessed images, and the maps are those that `Backbone.frozen_features` gives.
    """

    maps: Mapping[str, tf.Tensor]
    frame: tuple[int, int]
    images: Optional[tf.Tensor] = None  # noqa: UP045 (extension types do not know X | None)

    class Spec:
        """The TypeSpec of Features; tf.distribute splits a batch by its shape."""

        @property
        def shape(self) -> tf.TensorShape:
            """That of the batch alone, as maps differ in all else."""
            return next(iter(self.maps.values())).shape[:1]

    @classmethod
    def of(cls, maps: Mapping[int, tf.Tensor], frame: tuple[int, int], images: tf.Tensor | None = None) -> Features:
        """Features of maps by level (int), as a backbone returns them."""
        return cls({str(level): features for level, features in maps.items()}, frame, images)

    @property
    def pyramid(self) -> dict[int, tf.Tensor]:
        """The maps by level (int), as a backbone returns them."""
        return {int(level): features for level, features in self.maps.items()}

    @property
    def batch_size(self) -> tf.Tensor:
        """The number of images."""
        return tf.shape(next(iter(self.maps.values())) if self.images is None else self.images)[0]

    def cast(self, dtype: tf.DType | str) -> Features:
        """The same with maps of this type."""
        return Features({level: tf.cast(maps, dtype) for level, maps in self.maps.items()}, self.frame, self.images)
