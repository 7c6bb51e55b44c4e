"""Reads a complete feature cache, after a check that it fits the present configuration."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence

import numpy as np
import zstandard

from tf_frozen.data.pipeline import TrainBatches
from tf_frozen.detectors.detector import Detector
from tf_frozen.errors import RunError
from tf_frozen.feature_cache.build import check_cachable
from tf_frozen.feature_cache.key import key
from tf_frozen.feature_cache.layout import Layout
from tf_frozen.feature_cache.manifest import Manifest
from tf_frozen.feature_cache.shards import ShardReader

_OPEN = 256


class CacheReader:
    """Reads the records of a cache by their numbers; `failure` holds the RunError of a record that cannot be read."""

    def __init__(self, folder: str, batches: TrainBatches, detector: Detector):
        """Raises ConfigError where the backbone trains, RunError where the cache is stale, unfinished or cut short."""
        check_cachable(detector.backbone)
        folder = os.path.expanduser(folder)
        manifest = Manifest.load(folder)
        manifest.check(folder, key(batches, detector), {}, detector.backbone.weights_source or "random")
        self.copies = manifest.settings["FeatureCache.copies"]
        self.layout = Layout.from_dict(manifest.layout)
        self.failure: RunError | None = None
        self._paths = [os.path.join(folder, name) for name in manifest.names]
        self._shard_records = manifest.shard_records
        _check_files(folder, manifest)
        compression = manifest.settings["FeatureCache.compression"]
        # Few enough for what a process may have open; which shard comes next is random.
        self._open = functools.lru_cache(_OPEN)(functools.partial(ShardReader, compression=compression))

    def read(self, rows: np.ndarray) -> list[np.ndarray]:
        """Returns Layout.decode of records in any order; RunError naming the file that cannot be read."""
        places = zip(*(part.tolist() for part in np.divmod(rows, self._shard_records)), strict=True)
        return self.layout.decode([functools.partial(self._read, self._paths[shard], place) for shard, place in places])

    def _read(self, path: str, place: int, maps: Sequence[np.ndarray]) -> bytes | memoryview:
        try:
            return self._open(path).read(place, maps)
        except OSError as error:
            self.failure = RunError(f"The feature cache's file {path} cannot be read: {error.strerror or error}.")
            raise self.failure from error
        except (ValueError, zstandard.ZstdError) as error:
            self.failure = RunError(
                f"The feature cache's file {path} is damaged: {error}. Repair it with the command that built "
                f"the cache: `tf-frozen cache` checks each file and writes damaged ones again."
            )
            raise self.failure from error


def _check_files(folder: str, manifest: Manifest) -> None:
    advice = "Finish it with the command that started it: `tf-frozen cache` continues where it stopped."
    if not manifest.complete:
        done = f"{len(manifest.shards)} of {len(manifest.names)} files"
        raise RunError(f"The feature cache {folder} is not finished: it has {done}. {advice}")
    for name, row in manifest.shards.items():
        path = os.path.join(folder, name)
        size = os.path.getsize(path) if os.path.isfile(path) else None
        if size != row["bytes"]:
            found = "is missing" if size is None else f"has {size:,} bytes"
            raise RunError(f"The feature cache's file {path} {found}, it must have {row['bytes']:,}. {advice}")
