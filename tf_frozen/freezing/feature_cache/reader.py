"""A finished feature cache, opened for training after it was compared with what would be made now."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence

import numpy as np

from tf_frozen.backbones.backbone import Backbone
from tf_frozen.data.pipeline import TrainBatches
from tf_frozen.errors import RunError
from tf_frozen.freezing.feature_cache.build import check_cachable
from tf_frozen.freezing.feature_cache.key import key
from tf_frozen.freezing.feature_cache.layout import Layout
from tf_frozen.freezing.feature_cache.manifest import Manifest
from tf_frozen.freezing.feature_cache.shards import open_shard, read


class CacheReader:
    """Gives the records of a cache by their numbers; `failure` holds the RunError of a record that can't be read."""

    def __init__(self, folder: str, batches: TrainBatches, backbone: Backbone):
        """Raises ConfigError where the backbone trains, RunError where the cache is stale, unfinished or cut short."""
        check_cachable(backbone)
        manifest = Manifest.load(folder)
        manifest.check(folder, key(batches, backbone), {}, backbone.weights_source or "random")
        self.views = manifest.settings["FeatureCache.views"]
        self.layout = Layout.from_dict(manifest.layout)
        self.failure: RunError | None = None
        self._paths = [os.path.join(folder, name) for name in manifest.names]
        self._shard_records = manifest.shard_records
        _check_files(folder, manifest)
        self._open = functools.cache(open_shard)

    def read(self, rows: np.ndarray) -> list[np.ndarray]:
        """What Layout.decode gives for records in any order; RunError naming the file that can't be read."""
        records: list[bytes] = [b""] * len(rows)
        shards, places = np.divmod(rows, self._shard_records)
        for shard in np.unique(shards):
            (found,) = np.nonzero(shards == shard)
            for number, record in zip(found, self._read(self._paths[shard], places[found].tolist()), strict=True):
                records[number] = record
        return self.layout.decode(records)

    def _read(self, path: str, places: Sequence[int]) -> list[bytes]:
        try:
            return read(self._open(path), places)
        except Exception as error:  # array_record raises bare exceptions of several kinds
            self.failure = RunError(
                f"The feature cache's file {path} is damaged: {str(error).strip()}. Make it whole again by the command "
                f"that made the cache: `tf-frozen cache` checks each file and writes a damaged one anew."
            )
            raise self.failure from error


def _check_files(folder: str, manifest: Manifest) -> None:
    advice = "Finish it by the command that began it: `tf-frozen cache` goes on where it stopped."
    if not manifest.complete:
        done = f"{len(manifest.shards)} of {len(manifest.names)} files"
        raise RunError(f"The feature cache {folder} is not finished: it has {done}. {advice}")
    for name, row in manifest.shards.items():
        path = os.path.join(folder, name)
        size = os.path.getsize(path) if os.path.isfile(path) else None
        if size != row["bytes"]:
            found = "is missing" if size is None else f"has {size:,} bytes"
            raise RunError(f"The feature cache's file {path} {found}, it must have {row['bytes']:,}. {advice}")
