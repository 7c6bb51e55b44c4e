"""A part of a data set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tf_frozen.data.source import DataSource


class Subset(DataSource):
    """The examples of `source` at `indices`, in this order, with all of its categories."""

    def __init__(self, source: DataSource, indices: Sequence[int]):
        self.source, self.indices = source, [int(index) for index in indices]
        self.examples = [source.examples[index] for index in self.indices]
        self.categories = source.categories

    def read(self, index: tf.Tensor) -> tf.Tensor:
        """Returns the encoded image, a string scalar."""
        return self.source.read(tf.gather(tf.constant(self.indices, tf.int64), index))

    def describe(self, index: int) -> str:
        """Returns what messages of `source` call the image."""
        return self.source.describe(self.indices[index])

    def fingerprint(self, index: int) -> bytes:
        """Returns bytes that change with the image."""
        return self.source.fingerprint(self.indices[index])

    def changed_at(self, index: int) -> float:
        """Returns when the image last changed."""
        return self.source.changed_at(self.indices[index])

    @property
    def ground_truth(self) -> dict[str, Any]:
        """The part of the COCO JSON of `source` that is about these images."""
        whole, ids = self.source.ground_truth, {example.image_id for example in self.examples}
        images = [row for row in whole["images"] if row["id"] in ids]
        annotations = [row for row in whole["annotations"] if row["image_id"] in ids]
        return {**whole, "images": images, "annotations": annotations}

    def __str__(self) -> str:
        return str(self.source)
