"""What the contents of a feature cache depend on, as names and values that can be compared and shown."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tf_frozen.backbones.backbone import Backbone
from tf_frozen.data.annotations import Example
from tf_frozen.data.pipeline import TrainBatches
from tf_frozen.detectors.detector import Detector
from tf_frozen.freezing.fingerprint import digest, fingerprints
from tf_frozen.freezing.variable_paths import variable_paths

FORMAT = 2
# Where weights come from may differ, as long as they are the same: their digest tells.
_NOT_COMPARED = ("name", "trainable", "mode", "weights", "init_checkpoint", "path")
# The order of the batches is no part of what a view shows, and views are the cache's own.
_OF_THE_ORDER = ("examples", "batch_size", "fixed_views")
_PLAIN = (str, int, float, bool, type(None))


def key(batches: TrainBatches, detector: Detector) -> dict[str, Any]:
    """Everything that decides the features and targets of a view, flat and ready for JSON."""
    backbone = detector.backbone
    config = {name: value for name, value in backbone.get_config().items() if name not in _NOT_COMPARED}
    pipeline = {name: value for name, value in vars(batches).items() if name not in _OF_THE_ORDER}
    rows = {
        "format": FORMAT,
        "backbone": type(backbone).__name__,
        **_attributes(type(backbone).__name__, config),
        "backbone's weights": digest(fingerprints(variable_paths(backbone))),
        "backbone's precision": backbone.compute_dtype,
        "backbone's preprocessing": _preprocessing(backbone),
        "levels that the neck reads": {str(level): backbone.channels[level] for level in detector.levels_read},
        **_data(batches.examples),
        **_attributes(type(batches).__name__, pipeline),
    }
    return json.loads(json.dumps(rows, default=str))


def differences(cached: dict[str, Any], present: dict[str, Any]) -> list[str]:
    """A line for each entry in which two keys differ: 'ScaleJitter.maximum: 1.3 in the cache, 1.5 here'."""
    return [
        f"{name}: {_shown(cached, name)} in the cache, {_shown(present, name)} here"
        for name in dict.fromkeys([*cached, *present])
        if name not in cached or name not in present or cached[name] != present[name]
    ]


def _shown(rows: dict[str, Any], name: str) -> str:
    if name not in rows:
        return "nothing"
    value = rows[name]
    is_digest = isinstance(value, str) and len(value) == 64
    return f"{value[:12]}…" if is_digest else repr(value)


def _preprocessing(backbone: Backbone) -> str:
    """Fingerprint of what the backbone makes of a fixed image in which every channel has values from 0 to 255."""
    probe = np.arange(1 * 16 * 16 * 3, dtype=np.float32).reshape([1, 16, 16, 3]) % 256
    return digest(fingerprints({"probe": tf.convert_to_tensor(backbone.preprocess(tf.constant(probe)))}))


def _data(examples: Sequence[Example]) -> dict[str, Any]:
    images, annotations = hashlib.sha256(), hashlib.sha256()
    for example in examples:
        name, size = os.path.basename(example.path), os.path.getsize(example.path)
        images.update(f"{example.image_id}\0{name}\0{size}\0{example.orientation}\n".encode())
        for array in (example.boxes, example.classes, example.crowd):
            annotations.update(f"{array.shape}".encode() + array.tobytes())
        annotations.update(json.dumps(example.segmentations).encode())
    return {
        "number of images": len(examples),
        "images' names and sizes": images.hexdigest(),
        "annotations": annotations.hexdigest(),
    }


def _attributes(owner: str, attributes: dict[str, Any]) -> dict[str, Any]:
    """'Owner.attribute' and its value; those of objects among the values too, under the names of their classes."""
    rows: dict[str, Any] = {}
    for attribute, value in attributes.items():
        label = f"{owner}.{attribute.lstrip('_')}"
        items = value if isinstance(value, list | tuple) else [value]
        names = [_name(item) for item in items]
        rows[label] = names if isinstance(value, list | tuple) else names[0]
        for item, name in zip(items, names, strict=True):
            if _is_object(item):
                inner = _attributes(name, vars(item))
                # Two of one class are told apart by their place.
                taken = any(row in rows for row in inner)
                rows.update(
                    {f"{row} ({label}, {items.index(item) + 1})" if taken else row: v for row, v in inner.items()}
                )
    return rows


def _name(value: Any) -> Any:
    if _is_object(value):
        return type(value).__name__
    return getattr(value, "__qualname__", value) if callable(value) else value


def _is_object(value: Any) -> bool:
    return (
        not isinstance(value, (*_PLAIN, list, tuple, dict))
        and hasattr(value, "__dict__")
        and not hasattr(value, "__qualname__")
    )
