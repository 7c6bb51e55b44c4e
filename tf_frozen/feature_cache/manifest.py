"""The manifest of a feature cache: its key, its layout, and the size and checksum of each shard."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from typing import Any

from tf_frozen.errors import RunError
from tf_frozen.feature_cache.key import differences
from tf_frozen.feature_cache.layout import Layout
from tf_frozen.feature_cache.shards import COMPRESSIONS
from tf_frozen.files import write_atomic

NAME = "manifest.json"


@dataclasses.dataclass
class Manifest:
    """The contents of a cache folder; `shards` maps the file name of each complete shard to {bytes, sha256}.

    Record r is in shard r // `shard_records`. `source` describes where the backbone's weights came from.
    """

    key: dict[str, Any]
    settings: dict[str, Any]
    layout: dict[str, Any]
    source: str
    records: int
    shard_records: int
    shards: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """The file names of all shards, whole or not, in order."""
        count = -(-self.records // self.shard_records)
        return [f"features-{number:05}-of-{count:05}.shard" for number in range(count)]

    @property
    def complete(self) -> bool:
        """Whether every shard was written."""
        return set(self.names) <= set(self.shards)

    def rows_of(self, shard: int) -> range:
        """The records of a shard by its number."""
        first = shard * self.shard_records
        return range(first, min(first + self.shard_records, self.records))

    def save(self, folder: str) -> None:
        """Writes it to the folder; RunError when it cannot."""
        write_atomic(os.path.join(folder, NAME), json.dumps(dataclasses.asdict(self), indent=1) + "\n")

    @classmethod
    def load(cls, folder: str) -> Manifest:
        """The folder's manifest; RunError where there is none or it cannot be read."""
        path = os.path.join(folder, NAME)
        try:
            with open(path, encoding="utf-8") as file:
                manifest = cls(**json.load(file))
            manifest._check_types()
            return manifest
        except FileNotFoundError as error:
            raise RunError(
                f"{folder} holds no feature cache: it has no {NAME}. `tf-frozen cache` makes one."
            ) from error
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise RunError(
                f"The feature cache {folder} cannot be used: {path} is not the manifest of a cache ({error}). Remove "
                f"the folder and build the cache again: `tf-frozen cache`."
            ) from error

    def _check_types(self) -> None:
        """Raises an error of Python's where a part is not of its type."""
        Layout.from_dict(self.layout)
        counts = [self.records, self.shard_records, self.settings["FeatureCache.copies"]]
        shards = self.shards.values()
        if not all(type(count) is int and count > 0 for count in counts):
            raise ValueError(f"its counts are {counts}")
        if self.settings["FeatureCache.compression"] not in COMPRESSIONS or not isinstance(self.key, dict):
            raise ValueError("its key or settings are damaged")
        if not all(type(row["bytes"]) is int and isinstance(row["sha256"], str) for row in shards):
            raise ValueError("its list of shards is damaged")

    def check(self, folder: str, key: Mapping[str, Any], settings: Mapping[str, Any], source: str) -> None:
        """Raises RunError with each difference to the present configuration.

        `settings` are those of a build, which can only continue with the same ones; empty settings are not compared.
        """
        found = differences(self.key, key)
        if any(line.startswith("backbone's weights") for line in found):
            found.append(f"(their source: {self.source} in the cache, {source} here)")
        if found:
            raise RunError(
                f"The feature cache {folder} was made with another configuration, so its features would be wrong:\n  "
                + "\n  ".join(found)
                + "\nUse that configuration, or make another cache in another folder."
            )
        found = differences(self.settings, {**self.settings, **settings})
        if found:
            raise RunError(
                f"The feature cache {folder} was started with other settings:\n  "
                + "\n  ".join(found)
                + "\nTo continue it, use those; or build another cache in another folder."
            )
