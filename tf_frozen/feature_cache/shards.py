"""Shards of a feature cache: files of records, written whole or not at all, read in any order.

A file is its records one after another, a row (end in the file, XXH3 of the stored bytes) for each, and their number.
An uncompressed map is read into the memory that TensorFlow uses, without another copy.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator, Sequence

import numpy as np
import xxhash
import zstandard

from tf_frozen.files import sync, write_error

COMPRESSIONS = ("none", "zstd")
_INDEX = np.dtype([("end", "<i8"), ("xxh3", "<u8")])
_COUNT = np.dtype("<i8")


class ShardWriter:
    """A shard being written, under a temporary name until `finish`; RunError where the disk does not take it."""

    def __init__(self, path: str, compression: str):
        self._path, self._temporary, self._compression = path, temporary(path), compression
        self._index: list[tuple[int, int]] = []
        self._size, self._sha256 = 0, hashlib.sha256()
        with self._reported():
            self._file = open(self._temporary, "wb")  # noqa: SIM115 - finish and discard close it

    def write(self, record: bytes) -> None:
        """Adds a record."""
        stored = zstandard.compress(record, level=1) if self._compression == "zstd" else record
        self._append(stored)
        self._index.append((self._size, xxhash.xxh3_64_intdigest(stored)))

    def finish(self) -> dict[str, int | str]:
        """Puts the shard on the disk under its name; gives its bytes and sha256."""
        self._append(np.array(self._index, _INDEX).tobytes() + _COUNT.type(len(self._index)).tobytes())
        with self._reported():
            self._file.close()
            sync(self._temporary)
            os.replace(self._temporary, self._path)
            sync(os.path.dirname(self._path))
        # The checksum of the intended bytes, not of the file, so that a damaged file is detected.
        return {"bytes": self._size, "sha256": self._sha256.hexdigest()}

    def discard(self) -> None:
        """Removes what was written, after an error."""
        with contextlib.suppress(OSError):  # the disk may still be full
            self._file.close()
        if os.path.exists(self._temporary):
            os.remove(self._temporary)

    def _append(self, stored: bytes) -> None:
        self._size += len(stored)
        self._sha256.update(stored)
        with self._reported():
            self._file.write(stored)

    @contextlib.contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise write_error(self._path, error, self._size) from error


class ShardReader:
    """A finished shard; records may be read by several threads. Raises OSError or ValueError where it is damaged."""

    def __init__(self, path: str, compression: str):
        self._file, self._compression = open(path, "rb", buffering=0), compression  # noqa: SIM115 - read later
        size = os.fstat(self._file.fileno()).st_size
        (count,) = np.frombuffer(self._bytes(size - _COUNT.itemsize, _COUNT.itemsize), _COUNT)
        length = int(count) * _INDEX.itemsize
        end = size - _COUNT.itemsize - length
        self._index = np.frombuffer(self._bytes(end, length), _INDEX) if 0 < length < size and end >= 0 else []
        if not len(self._index) or self._index["end"][-1] != end or (np.diff(self._index["end"], prepend=0) < 0).any():
            raise ValueError("its list of records does not fit it")

    def read(self, record: int, heads: Sequence[np.ndarray]) -> bytes | memoryview:
        """Fills the arrays with the first bytes of a record, by its number, and returns those that follow."""
        begin = int(self._index["end"][record - 1]) if record else 0
        size, checksum = int(self._index["end"][record]) - begin, int(self._index["xxh3"][record])
        if self._compression == "zstd":
            stored = self._bytes(begin, size)
            _check(checksum, [stored], record)
            return _scatter(zstandard.decompress(stored), heads)
        rest = bytearray(size - sum(head.nbytes for head in heads))
        if os.preadv(self._file.fileno(), [*heads, rest], begin) != size:
            raise ValueError(f"record {record} is cut short")
        _check(checksum, [*heads, rest], record)
        return memoryview(rest)

    def _bytes(self, begin: int, size: int) -> bytes:
        return os.pread(self._file.fileno(), size, begin)


def _check(checksum: int, parts: Sequence, record: int) -> None:
    found = xxhash.xxh3_64()
    for part in parts:
        found.update(part)
    if found.intdigest() != checksum:
        raise ValueError(f"record {record} does not have its checksum")


def _scatter(record: bytes, heads: Sequence[np.ndarray]) -> memoryview:
    rest = memoryview(record)
    for head in heads:
        np.copyto(head, np.frombuffer(rest[: head.nbytes], head.dtype).reshape(head.shape))
        rest = rest[head.nbytes :]
    return rest


def on_disk(record_bytes: int, records: int, shards: int) -> int:
    """Bytes of uncompressed shards with their indices; `record_bytes` is the sum over all records."""
    return record_bytes + records * _INDEX.itemsize + shards * _COUNT.itemsize


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
