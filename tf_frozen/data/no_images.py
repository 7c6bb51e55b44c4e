"""A data set without images."""

from __future__ import annotations

import tensorflow as tf

from tf_frozen.data.source import DataSource


class NoImages(DataSource):
    """An empty data source, for batches whose settings are read where the data are not available."""

    examples, categories = (), ()

    def read(self, index: tf.Tensor) -> tf.Tensor:
        """Raises IndexError."""
        raise IndexError("There are no images.")
