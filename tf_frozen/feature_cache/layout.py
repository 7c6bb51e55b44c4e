"""The binary layout of a cache record: the feature maps and targets of one augmented copy of an image."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

# Targets of the image as a whole; all other targets have a row for each object.
_OF_THE_IMAGE = ("image_index", "image_size", "scale")
_COUNT = "number of objects"
_ALIGNMENT = 64


class Layout:
    """Encodes and decodes records: the maps by level, a packed row for the image, then a row for each object.

    Objects are stored without padding and get it back when they are read. `maps` and `targets` are the specs of one
    copy: maps [h, w, channels] by level as text, in the dtype that is stored, and targets as TrainBatches has them.
    """

    def __init__(self, maps: Mapping[str, tf.TensorSpec], targets: Mapping[str, tf.TensorSpec]):
        self.maps, self.targets = dict(maps), dict(targets)
        self._objects = [name for name in targets if name not in _OF_THE_IMAGE]
        of_image = [(name, _stored(targets[name].dtype), tuple(targets[name].shape)) for name in _OF_THE_IMAGE]
        rows = [(name, _stored(targets[name].dtype), tuple(targets[name].shape[1:])) for name in self._objects]
        self._image, self._row = np.dtype([*of_image, (_COUNT, "<i4")]), np.dtype(rows)
        self._map_bytes = sum(math.prod(spec.shape) * _stored(spec.dtype).itemsize for spec in maps.values())

    def record_bytes(self, objects: int) -> int:
        """Bytes of a record with this number of objects."""
        return self._map_bytes + self._image.itemsize + objects * self._row.itemsize

    def encode(self, maps: Mapping[str, np.ndarray], targets: Mapping[str, np.ndarray]) -> bytes:
        """Returns the record of one copy."""
        count = int(np.count_nonzero(targets["classes"]))  # class 0 is padding, and comes last
        image, rows = np.zeros([], self._image), np.zeros([count], self._row)
        for name in _OF_THE_IMAGE:
            image[name] = targets[name]
        image[_COUNT] = count
        for name in self._objects:
            rows[name] = targets[name][:count]
        return b"".join([*(maps[level].tobytes() for level in self.maps), image.tobytes(), rows.tobytes()])

    def decode(self, reads: Sequence[Callable[[Sequence[np.ndarray]], bytes]]) -> list[np.ndarray]:
        """Maps, then targets, in the order of their specs, each with the batch as its first axis.

        Each of `reads` fills the maps that it is given with the first bytes of a record, and returns the others.
        """
        count = len(reads)
        maps = [_aligned(np.empty, [count, *spec.shape], _stored(spec.dtype)) for spec in self.maps.values()]
        targets = {n: _aligned(np.zeros, [count, *spec.shape], _stored(spec.dtype)) for n, spec in self.targets.items()}
        for number, read in enumerate(reads):
            rest = read([array[number] for array in maps])
            image = np.frombuffer(rest, self._image, 1)[0]
            rows = np.frombuffer(rest, self._row, image[_COUNT], self._image.itemsize)
            for name in _OF_THE_IMAGE:
                targets[name][number] = image[name]
            for name in self._objects:
                targets[name][number, : len(rows)] = rows[name]
        return [*maps, *targets.values()]

    @property
    def stored_dtypes(self) -> list[tf.DType]:
        """The dtypes of what `decode` gives; bfloat16, which NumPy lacks, is there as its bits, uint16."""
        return [tf.as_dtype(_stored(spec.dtype)) for spec in self._specs]

    def restore(self, found: Sequence[tf.Tensor], batch_size: int) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
        """Maps and targets as tensors of known shapes, of what `decode` gave for a batch."""
        tensors = []
        for tensor, spec in zip(found, self._specs, strict=True):
            tensor = tf.bitcast(tensor, spec.dtype) if tensor.dtype != spec.dtype else tensor
            tensors.append(tf.ensure_shape(tensor, [batch_size, *spec.shape]))
        maps = dict(zip(self.maps, tensors, strict=False))
        return maps, dict(zip(self.targets, tensors[len(maps) :], strict=True))

    def as_dict(self) -> dict[str, Any]:
        """The specs, ready for JSON."""
        return {
            part: {name: [list(spec.shape), spec.dtype.name] for name, spec in specs.items()}
            for part, specs in (("maps", self.maps), ("targets", self.targets))
        }

    @classmethod
    def from_dict(cls, parts: Mapping[str, Any]) -> Layout:
        """The layout that `as_dict` described."""
        return cls(*({n: tf.TensorSpec(*spec) for n, spec in parts[part].items()} for part in ("maps", "targets")))

    @property
    def _specs(self) -> list[tf.TensorSpec]:
        return [*self.maps.values(), *self.targets.values()]


def _stored(dtype: tf.DType) -> np.dtype:
    return np.dtype("<u2") if dtype == tf.bfloat16 else np.dtype(dtype.as_numpy_dtype).newbyteorder("<")


def _aligned(new: Callable, shape: Sequence[int], dtype: np.dtype) -> np.ndarray:
    """An array that TensorFlow takes over as it is: it copies one whose address is not a multiple of 64."""
    size = math.prod(shape) * dtype.itemsize
    raw = new([size + _ALIGNMENT], np.uint8)
    start = -raw.ctypes.data % _ALIGNMENT
    return raw[start : start + size].view(dtype).reshape(shape)
