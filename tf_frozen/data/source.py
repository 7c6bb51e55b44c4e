"""Base class of data sources: encoded images, their objects, and their names in messages."""

from __future__ import annotations

import abc
import hashlib
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tf_frozen.data.category import Category
from tf_frozen.data.coco_document import coco_document
from tf_frozen.data.example import Example
from tf_frozen.data.images import decode_named


class DataSource(abc.ABC):
    """A data set. A subclass has `examples`, `categories` and `read`; it may replace the other methods.

    The order of `examples` is fixed; an index is a position in it. Class k of an example is `categories[k - 1]`.
    `str(source)` is what messages call the data set.
    """

    examples: Sequence[Example]
    categories: Sequence[Category]

    @abc.abstractmethod
    def read(self, index: tf.Tensor) -> tf.Tensor:
        """Returns the image at `index`, an int64 scalar, as a string scalar: JPEG, PNG, GIF, BMP or WebP.

        Runs in the graph of a tf.data pipeline, in several threads at once; Python code needs tf.numpy_function.
        """

    def describe(self, index: int) -> str:
        """Returns what messages call the image, a different text for each."""
        return f"{self}[{index}]"

    def fingerprint(self, index: int) -> bytes:
        """Returns bytes that change with the image: a feature cache is valid for the images that it was made of."""
        return hashlib.sha256(self.contents(index)).digest()

    def changed_at(self, index: int) -> float:
        """Returns when the image last changed, in any unit: of images that cannot be read, the latest is likely."""
        del index
        return 0.0

    @property
    def ground_truth(self) -> dict[str, Any]:
        """The data set as a COCO JSON, for scoring; it may be shared, do not change it."""
        return coco_document(self.examples, self.categories)

    def contents(self, index: int) -> bytes:
        """Returns what `read` gives."""
        with tf.device("CPU:0"):
            return self.read(tf.constant(index, tf.int64)).numpy()

    def image(self, index: int) -> np.ndarray:
        """Returns the decoded image, uint8 [h, w, 3] RGB, as displayed."""
        where = os.fsencode(f"{self.describe(index)}: ")
        with tf.device("CPU:0"):
            return decode_named(self.contents(index), self.examples[index].orientation, where).numpy()

    def __str__(self) -> str:
        return type(self).__name__
