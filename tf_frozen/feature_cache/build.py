"""Builds a feature cache: runs the frozen backbone on augmented copies of the training images."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import glob
import logging
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Annotated

import gin
import numpy as np
import tensorflow as tf

from tf_frozen.backbones.backbone import Backbone
from tf_frozen.config.checked import Checked
from tf_frozen.config.ranges import PositiveInt, Range
from tf_frozen.data.pipeline import TrainBatches
from tf_frozen.detectors.detector import Detector
from tf_frozen.errors import ConfigError, DataError, RunError
from tf_frozen.feature_cache.key import key
from tf_frozen.feature_cache.layout import Layout
from tf_frozen.feature_cache.manifest import NAME, Manifest
from tf_frozen.feature_cache.shards import COMPRESSIONS, ShardWriter, is_whole, on_disk, temporary
from tf_frozen.files import write_error
from tf_frozen.progress import Counter

DTYPES = ("float16", "bfloat16", "float32")
MARGIN = 10**9  # bytes of the disk that a cache leaves free
_LOGGER = logging.getLogger(__name__)


@dataclasses.dataclass
class Estimate:
    """The size of a cache: `bytes` before compression, so an upper bound, and the `free` bytes of its disk.

    Each shard holds `shard_records` augmented copies; the last one holds the rest.
    """

    images: int
    copies: int
    bytes: int
    free: int
    shard_records: int

    def __str__(self) -> str:
        copies = "1 copy" if self.copies == 1 else f"{self.copies} copies"
        return (
            f"{self.images:,} images in {copies}: {self.bytes / 1e9:.3f} GB before compression, "
            f"{self.bytes / max(1, self.images * self.copies) / 1e6:.3f} MB a copy; {self.free / 1e9:.1f} GB are free."
        )


@gin.configurable
class FeatureCache(Checked):
    """Builds a feature cache of `copies` augmented copies of each image: maps as `dtype`, in files of `shard_bytes`.

    `dtype` is 'float16', 'bfloat16' or 'float32', `compression` 'none' or 'zstd', which halves the maps that a ReLU
    made and costs a few milliseconds of CPU an image in each step. Raises ConfigError for any other value.
    """

    def __init__(
        self,
        copies: PositiveInt = 8,
        dtype: str = "float16",
        compression: str = "none",
        shard_bytes: Annotated[int, Range(1, 2**40)] = 256 * 10**6,
    ):
        for name, value, known in (("dtype", dtype, DTYPES), ("compression", compression, COMPRESSIONS)):
            if value not in known:
                raise ConfigError(f"FeatureCache.{name} is {value!r}; it must be one of {', '.join(known)}.")
        self.copies, self.dtype, self.compression, self.shard_bytes = copies, dtype, compression, shard_bytes

    def estimate(self, batches: TrainBatches, detector: Detector, folder: str) -> Estimate:
        """Returns the size of what `build` would write, without running the backbone."""
        layout = self._layout(batches, self._feature_maps(detector))
        return self._estimate(batches, layout, folder)

    def build(self, batches: TrainBatches, detector: Detector, folder: str) -> bool:
        """Builds the cache in the folder, or what is missing of it. Returns False if nothing was missing.

        Raises ConfigError where the backbone trains, RunError where the folder holds another cache, the disk is too
        small, or a value does not fit the dtype.
        """
        if batches.fixed_copies not in (None, self.copies):
            raise ConfigError(
                f"TrainBatches.fixed_copies is {batches.fixed_copies}, but FeatureCache.copies is {self.copies}. Omit "
                f"the first: training from a cache uses the cache's copies."
            )
        maps_of = self._feature_maps(detector)  # traced once, for the layout and for all batches
        layout = self._layout(batches, maps_of)
        estimate = self._estimate(batches, layout, folder)
        _LOGGER.info("%s", estimate)
        manifest = self._manifest(batches, detector, layout, estimate, folder)
        missing = [name for name in manifest.names if not _reusable(folder, manifest, name)]
        if not missing:
            return False
        _check_disk(folder, estimate, len(missing) / len(manifest.names))
        if len(missing) < len(manifest.names):
            done = len(manifest.names) - len(missing)
            _LOGGER.info("%d of %d shards are complete.", done, len(manifest.names))
        with _only_builder(folder):
            manifest.save(folder)
            self._write(batches, maps_of, layout, manifest, missing, folder)
        return True

    def _feature_maps(self, detector: Detector) -> Callable:
        """Returns a function of images: the feature maps that the neck reads, by level, and whether all fit the dtype.

        Raises ConfigError where the backbone trains.
        """
        backbone, levels = detector.backbone, detector.levels_read
        check_cachable(backbone)

        # In a graph, as in training: what TensorFlow fuses there may round otherwise than single ops.
        @tf.function(autograph=False)
        def maps(images: tf.Tensor) -> tuple[Mapping[str, tf.Tensor], tf.Tensor]:
            exact = backbone.frozen_features(backbone.preprocess(images))
            stored = {str(level): tf.cast(exact[level], self.dtype) for level in levels}
            finite = [tf.reduce_all(tf.math.is_finite(features)) for features in stored.values()]
            return stored, tf.reduce_all(tf.stack(finite))

        return maps

    def _layout(self, batches: TrainBatches, maps_of: Callable) -> Layout:
        if not batches.source.examples:
            raise DataError("There is no image to cache the features of.")
        images, targets = batches.copies([0], batches.batch_size).element_spec
        spec = tf.TensorSpec([batches.batch_size, *images.shape[1:]], images.dtype)
        maps = maps_of.get_concrete_function(spec).structured_outputs[0]
        return Layout(
            {level: tf.TensorSpec(features.shape[1:], features.dtype) for level, features in maps.items()},
            {name: tf.TensorSpec(target.shape[1:], target.dtype) for name, target in targets.items()},
        )

    def _estimate(self, batches: TrainBatches, layout: Layout, folder: str) -> Estimate:
        objects = [int(np.count_nonzero(~example.crowd)) for example in batches.source.examples]
        mixed_in = max(objects, default=0) if batches.mix else 0
        total = self.copies * sum(layout.record_bytes(count + mixed_in) for count in objects)
        records = self.copies * len(batches.source.examples)
        # Whole batches: the features of a shard then do not depend on which others were there already.
        of_shard = max(1, self.shard_bytes * records // total // batches.batch_size) * batches.batch_size
        folder = os.path.abspath(folder)
        while not os.path.isdir(folder):
            folder = os.path.dirname(folder)
        size = on_disk(total, records, -(-records // of_shard))
        return Estimate(len(batches.source.examples), self.copies, size, shutil.disk_usage(folder).free, of_shard)

    def _manifest(
        self, batches: TrainBatches, detector: Detector, layout: Layout, estimate: Estimate, folder: str
    ) -> Manifest:
        """The folder's manifest, checked against what is asked for, or a new one."""
        records = self.copies * len(batches.source.examples)
        settings = {
            **{f"FeatureCache.{name}": getattr(self, name) for name in ("copies", "dtype", "compression")},
            "FeatureCache.shard_bytes": self.shard_bytes,
            "TrainBatches.batch_size": batches.batch_size,
        }
        present, source = key(batches, detector), detector.backbone.weights_source or "random"
        if os.path.exists(os.path.join(folder, NAME)):
            manifest = Manifest.load(folder)
            manifest.check(folder, present, settings, source)
            return manifest
        return Manifest(present, settings, layout.as_dict(), source, records, estimate.shard_records)

    def _write(self, batches, maps_of, layout, manifest: Manifest, missing: Sequence[str], folder) -> None:
        numbers = [manifest.names.index(name) for name in missing]
        rows = [row for number in numbers for row in manifest.rows_of(number)]
        count = -(-len(rows) // batches.batch_size)
        with Counter(count, "caching", "batches") as counter:
            copies = counter.over(batches.copies(rows, batches.batch_size))
            records = self._records(copies, maps_of, layout, batches)
            for name, number in zip(missing, numbers, strict=True):
                shard = ShardWriter(os.path.join(folder, name), self.compression)
                try:
                    for _ in manifest.rows_of(number):
                        shard.write(next(records))
                    manifest.shards[name] = shard.finish()
                except BaseException:
                    shard.discard()
                    raise
                manifest.save(folder)

    def _records(self, copies: Iterator, maps_of: Callable, layout: Layout, batches: TrainBatches) -> Iterator[bytes]:
        for images, targets in copies:
            count = int(images.shape[0])
            # A last batch is filled up: convolutions of another shape may round otherwise.
            maps, fits = maps_of(tf.repeat(images, [1] * (count - 1) + [batches.batch_size - count + 1], axis=0))
            targets = {name: target.numpy() for name, target in targets.items()}
            if not fits:
                raise RunError(_overflow(self.dtype, map(batches.source.describe, targets["image_index"])))
            maps = {level: features.numpy() for level, features in maps.items()}
            for number in range(count):
                yield layout.encode(
                    {level: features[number] for level, features in maps.items()},
                    {name: target[number] for name, target in targets.items()},
                )


@contextlib.contextmanager
def _only_builder(folder: str) -> Iterator[None]:
    """Makes the folder, keeps other builds out of it, and removes what one that was killed left half written."""
    try:
        os.makedirs(folder, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise write_error(folder, error) from error
    try:
        _lock(descriptor, folder)
        for left in glob.glob(os.path.join(glob.escape(folder), temporary("features-*"))):
            os.remove(left)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, folder: str) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise RunError(f"Another `tf-frozen cache` is at work in {folder}. Wait for it, or stop it.") from error
    except OSError:  # a file system without locks
        _LOGGER.warning("%s cannot be locked: do not build two caches there at once.", folder)


def check_cachable(backbone: Backbone) -> None:
    """Raises ConfigError for a backbone whose features change while training."""
    if not backbone.frozen:
        raise ConfigError(
            f"The features of {type(backbone).__name__} cannot be cached: {len(backbone.trainable_weights)} of its "
            f"weights train (mode {backbone.mode!r}), so that its features change at every step. Set BACKBONE_MODE = "
            f"'frozen', and no policy that trains a part of it; or train without a cache (FEATURE_CACHE = None)."
        )


def _reusable(folder: str, manifest: Manifest, name: str) -> bool:
    path, row = os.path.join(folder, name), manifest.shards.get(name)
    if is_whole(path, row):
        return True
    if row is not None:
        _LOGGER.warning("%s is missing or damaged and is written again.", path)
        del manifest.shards[name]
    return False


def _check_disk(folder: str, estimate: Estimate, part: float) -> None:
    needed = round(estimate.bytes * part)
    if needed + MARGIN > estimate.free:
        raise RunError(
            f"The feature cache {folder} needs up to {needed / 1e9:.2f} GB and {MARGIN / 1e9:.0f} GB must stay free, "
            f"but only {estimate.free / 1e9:.2f} GB are. Make room, choose another folder, or lower "
            f"FeatureCache.copies ({estimate.copies}), the crop or CocoJson.fraction."
        )


def _overflow(dtype: str, images: Iterable[str]) -> str:
    return (
        f"A feature of one of these images is not finite as {dtype}: {', '.join(images)}. "
        f"The largest value of float16 is 65504: use FeatureCache.dtype = 'bfloat16', or 'float32'."
    )
