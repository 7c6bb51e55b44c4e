"""Image files as a data source."""

from __future__ import annotations

import os
from collections.abc import Sequence

import tensorflow as tf

from tf_frozen.data.category import Category
from tf_frozen.data.example import Example
from tf_frozen.data.source import DataSource

_END = 4096


class ImageFiles(DataSource):
    """Examples whose images are the files `paths`, one for each."""

    def __init__(self, examples: Sequence[Example], categories: Sequence[Category], paths: Sequence[str]):
        self.examples, self.categories, self.paths = examples, categories, paths
        # Here, as tracing would write all paths to each graph.
        self._encoded = tf.constant([os.fsencode(path) for path in paths], tf.string)

    def read(self, index: tf.Tensor) -> tf.Tensor:
        """Returns the bytes of the file, a string scalar."""
        return tf.io.read_file(self._encoded[index])

    def describe(self, index: int) -> str:
        """Returns the path of the file."""
        return self.paths[index]

    def fingerprint(self, index: int) -> bytes:
        """Returns name, size, first and last bytes: to read every image in full would take minutes at each start."""
        with open(self.paths[index], "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            first = file.read(_END)
            file.seek(max(0, size - _END))
            return b"%s\0%d\n" % (os.fsencode(os.path.basename(self.paths[index])), size) + first + file.read(_END)

    def changed_at(self, index: int) -> float:
        """Returns when the file was last written or replaced, in seconds; infinity if it is gone."""
        try:
            return os.stat(self.paths[index]).st_ctime
        except OSError:
            return float("inf")
