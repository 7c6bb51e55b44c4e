"""Shards of a feature cache: files of records, written whole or not at all, read in any order."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence

from array_record.python import array_record_module

from tf_frozen.files import sync, write_error

_OPTIONS = {"none": "group_size:1,uncompressed", "zstd": "group_size:1,zstd:1"}
COMPRESSIONS = tuple(_OPTIONS)
_BLOCK = 64 * 1024


class Shard:
    """A shard being written, under a temporary name until `finish`."""

    def __init__(self, path: str, compression: str):
        self._path, self._temporary = path, temporary(path)
        self._written = 0
        self._writer = array_record_module.ArrayRecordWriter(self._temporary, _OPTIONS[compression])

    def write(self, record: bytes) -> None:
        """Adds a record; RunError when the disk does not take it."""
        self._written += len(record)
        try:
            self._writer.write(record)
        except (OSError, RuntimeError, ValueError) as error:
            raise write_error(self._path, self._written, str(error)) from error

    def finish(self) -> dict[str, int | str]:
        """Puts the shard on the disk under its name; gives its bytes and sha256."""
        try:
            self._writer.close()
            sync(self._temporary)
            row = {"bytes": os.path.getsize(self._temporary), "sha256": sha256(self._temporary)}
            os.replace(self._temporary, self._path)
            sync(os.path.dirname(self._path))
        except (OSError, RuntimeError, ValueError) as error:
            raise write_error(self._path, self._written, str(error)) from error
        return row

    def discard(self) -> None:
        """Removes what was written, after an error."""
        self._writer.close()
        if os.path.exists(self._temporary):
            os.remove(self._temporary)


def on_disk(record_bytes: int, shards: int) -> int:
    """Bytes that so many shards take for records of so many bytes in all: array_record fills blocks, and adds one."""
    return shards * (-(-record_bytes // shards // _BLOCK) + 1) * _BLOCK


def temporary(path: str) -> str:
    """The name that a shard has until it is whole."""
    return f"{path}.part"


def sha256(path: str) -> str:
    """The SHA-256 (hex) of a file."""
    total = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            total.update(block)
    return total.hexdigest()


def is_whole(path: str, row: dict[str, int | str] | None) -> bool:
    """Whether the file has the size and the checksum that the manifest's row says."""
    return (
        row is not None
        and os.path.isfile(path)
        and os.path.getsize(path) == row["bytes"]
        and sha256(path) == row["sha256"]
    )


def open_shard(path: str) -> array_record_module.ArrayRecordReader:
    """A reader of single records; without reading ahead, as they are read in random order."""
    return array_record_module.ArrayRecordReader(path, "readahead_buffer_size:0")


def read(reader: array_record_module.ArrayRecordReader, records: Sequence[int]) -> list[bytes]:
    """The records of these numbers within the shard."""
    return reader.read(list(records))
