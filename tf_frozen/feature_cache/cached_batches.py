"""Training batches of cached features, in the order and with the targets of the batches of images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gin
import tensorflow as tf

from tf_frozen.backbones.features import Features
from tf_frozen.config.checked import Checked
from tf_frozen.config.ranges import PositiveInt
from tf_frozen.data.pipeline import TrainBatches
from tf_frozen.data.source import DataSource
from tf_frozen.errors import ConfigError


@gin.configurable
class CachedBatches(Checked):
    """The batches of a TrainBatches with Features from a cache instead of images, which it never opens.

    `cache` has `copies`, `layout`, `failure` and `read(rows)`. `augmentation` are operations on a batch's maps, called
    with maps {level: [B, h, w, channels]} and seeds [B, 2], which differ by epoch. `workers` batches are read at once.
    Raises ConfigError where `fixed_copies` of the batches differs from the cache's, or `workers` is invalid.
    """

    def __init__(
        self, batches: TrainBatches, cache: Any, augmentation: Sequence[Callable] = (), workers: PositiveInt = 2
    ):
        if batches.fixed_copies not in (None, cache.copies):
            raise ConfigError(
                f"TrainBatches.fixed_copies is {batches.fixed_copies}, but the feature cache has {cache.copies}. "
                f"Omit it: the cache's number is used."
            )
        batches.fixed_copies = cache.copies
        self._batches, self._cache = batches, cache
        self.augmentation, self.workers = tuple(augmentation), workers

    @property
    def source(self) -> DataSource:
        """The data set, of which no image is read."""
        return self._batches.source

    @property
    def crop(self) -> tuple[int, int]:
        """Height and width of the frames that the features are of, in pixels."""
        return self._batches.crop

    @property
    def failure(self) -> Exception | None:
        """Why the cache could not be read, if it could not."""
        return self._cache.failure

    def image_ids(self, step: int) -> list:
        """The image ids of the batch that `step`, counted from 0, trains on."""
        return self._batches.image_ids(step)

    def dataset(self, first_step: int, last_step: int) -> tf.data.Dataset:
        """The batches (Features, targets) of steps `first_step` to `last_step` − 1."""
        options = tf.data.Options()
        options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
        # Nothing is to be tuned here, and the tuner's thread may hold up the end of a dataset for seconds.
        options.autotune.enabled = False
        batches = self._batches.rows(first_step, last_step).map(self._read, self.workers, deterministic=True)
        return batches.prefetch(2).with_options(options)

    def _read(self, epochs: tf.Tensor, rows: tf.Tensor) -> tuple[Features, dict[str, tf.Tensor]]:
        layout, size = self._cache.layout, self._batches.batch_size
        found = tf.numpy_function(self._cache.read, [rows], layout.stored_dtypes)
        maps, targets = layout.restore(found, size)
        return Features(self._augmented(maps, epochs, targets["image_index"]), self.crop), targets

    def _augmented(self, maps: dict[str, tf.Tensor], epochs: tf.Tensor, images: tf.Tensor) -> dict[str, tf.Tensor]:
        if not self.augmentation:
            return maps
        seeds = tf.stack([tf.fill(epochs.shape, tf.constant(self._batches.seed, tf.int64)), epochs], axis=1)
        fold = tf.random.experimental.stateless_fold_in
        seeds = [fold(seed, image) for seed, image in zip(tf.unstack(seeds), tf.unstack(images), strict=True)]
        for number, operation in enumerate(self.augmentation, start=1):
            maps = operation(maps, tf.stack([fold(seed, number) for seed in seeds]))
        return maps
