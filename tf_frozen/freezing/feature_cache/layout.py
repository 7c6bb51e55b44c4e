"""How the features and targets of a view lie in the bytes of its record."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

# Of an image, whatever is on it; all other targets have a row for each object.
_OF_THE_IMAGE = ("image_index", "image_size", "scale")
_COUNT = "number of objects"
_ALIGNMENT = 64


class Layout:
    """A record is one packed row of fixed size (maps by level, what is known of the image), then a row an object.

    Objects are stored without padding and get it back when they are read. `maps` and `targets` are the specs of one
    view: maps [h, w, channels] by level as text, in the dtype that is stored, and targets as TrainBatches has them.
    """

    def __init__(self, maps: Mapping[str, tf.TensorSpec], targets: Mapping[str, tf.TensorSpec]):
        self.maps, self.targets = dict(maps), dict(targets)
        self._objects = [name for name in targets if name not in _OF_THE_IMAGE]
        fixed = [(f"map {level}", _stored(spec.dtype), tuple(spec.shape)) for level, spec in maps.items()]
        fixed += [(name, _stored(targets[name].dtype), tuple(targets[name].shape)) for name in _OF_THE_IMAGE]
        rows = [(name, _stored(targets[name].dtype), tuple(targets[name].shape[1:])) for name in self._objects]
        self._fixed, self._row = np.dtype([*fixed, (_COUNT, "<i4")]), np.dtype(rows)

    def record_bytes(self, objects: int) -> int:
        """Bytes of a record with so many objects."""
        return self._fixed.itemsize + objects * self._row.itemsize

    def encode(self, maps: Mapping[str, np.ndarray], targets: Mapping[str, np.ndarray]) -> bytes:
        """The record of one view."""
        count = int(np.count_nonzero(targets["classes"]))  # class 0 is padding, and comes last
        fixed, rows = np.zeros([], self._fixed), np.zeros([count], self._row)
        for level, array in maps.items():
            fixed[f"map {level}"] = array.view(self._fixed[f"map {level}"].base)
        for name in _OF_THE_IMAGE:
            fixed[name] = targets[name]
        fixed[_COUNT] = count
        for name in self._objects:
            rows[name] = targets[name][:count]
        return fixed.tobytes() + rows.tobytes()

    def decode(self, records: Sequence[bytes]) -> list[np.ndarray]:
        """Maps, then targets, in the order of their specs, each with the batch as its first axis."""
        found = [_aligned_zeros([len(records), *spec.shape], _stored(spec.dtype)) for spec in self._specs]
        maps, targets = found[: len(self.maps)], dict(zip(self.targets, found[len(self.maps) :], strict=True))
        for number, record in enumerate(records):
            fixed = np.frombuffer(record, self._fixed, 1)[0]
            rows = np.frombuffer(record, self._row, fixed[_COUNT], self._fixed.itemsize)
            for level, array in zip(self.maps, maps, strict=True):
                array[number] = fixed[f"map {level}"]
            for name in _OF_THE_IMAGE:
                targets[name][number] = fixed[name]
            for name in self._objects:
                targets[name][number, : len(rows)] = rows[name]
        return found

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


def _aligned_zeros(shape: Sequence[int], dtype: np.dtype) -> np.ndarray:
    """Zeros that TensorFlow takes over as they are: it copies an array whose address is not a multiple of 64."""
    size = math.prod(shape) * dtype.itemsize
    raw = np.zeros([size + _ALIGNMENT], np.uint8)
    start = -raw.ctypes.data % _ALIGNMENT
    return raw[start : start + size].view(dtype).reshape(shape)
