"""The key of a feature cache: names and values of all that its contents depend on, to compare and to show."""

from __future__ import annotations

import functools
import hashlib
import inspect
import itertools
import json
from collections.abc import Mapping
from typing import Any

import gin
import numpy as np
import tensorflow as tf

from tf_frozen.backbones.backbone import Backbone
from tf_frozen.config.arguments import arguments
from tf_frozen.config.imports import package_of
from tf_frozen.data.pipeline import TrainBatches
from tf_frozen.data.source import DataSource
from tf_frozen.detectors.detector import Detector
from tf_frozen.errors import ConfigError
from tf_frozen.freezing.fingerprint import digest, fingerprints
from tf_frozen.freezing.variable_paths import variable_paths

FORMAT = 4
# Where weights come from may differ, as long as they are the same: their digest tells.
_NOT_COMPARED = ("name", "trainable", "mode", "weights", "init_checkpoint", "path")
# The order of the batches does not change what a copy shows, and the cache has its own number of copies.
_OF_THE_ORDER = ("source", "batch_size", "fixed_copies", "sampler")
_PLAIN = (str, int, float, bool, type(None))


def key(batches: TrainBatches, detector: Detector) -> dict[str, Any]:
    """Returns all that decides the features and targets of an augmented copy, flat and ready for JSON."""
    backbone = detector.backbone
    rows = {
        "format": FORMAT,
        "backbone": _full_name(type(backbone)),
        "backbone's graph": backbone.graph_digest,
        "backbone's weights": digest(fingerprints(variable_paths(backbone))),
        "backbone's precision": backbone.compute_dtype,
        "backbone's preprocessing": _preprocessing(backbone),
        "levels that the neck reads": {str(level): backbone.channels[level] for level in detector.levels_read},
        **_data(batches.source),
    }
    for owner, attributes, excluded in (
        (backbone, backbone.get_config(), _NOT_COMPARED),
        (batches, arguments(batches), _OF_THE_ORDER),
    ):
        for name, value in attributes.items():
            if name not in excluded:
                _add(rows, f"{type(owner).__name__}.{name}", value)
    return json.loads(json.dumps(rows))


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
    """Fingerprint of a fixed image, with values from 0 to 255 in every channel, after preprocessing."""
    probe = np.arange(1 * 16 * 16 * 3, dtype=np.float32).reshape([1, 16, 16, 3]) % 256
    return digest(fingerprints({"probe": tf.convert_to_tensor(backbone.preprocess(tf.constant(probe)))}))


def _data(source: DataSource) -> dict[str, Any]:
    images, annotations = hashlib.sha256(), hashlib.sha256()
    for index, example in enumerate(source.examples):
        images.update(f"{example.image_id}\0{example.orientation}\n".encode())
        images.update(source.fingerprint(index))
        for array in (example.boxes, example.classes, example.crowd):
            annotations.update(f"{array.shape}".encode() + array.tobytes())
        annotations.update(json.dumps(example.segmentations).encode())
    return {
        "number of images": len(source.examples),
        "images": images.hexdigest(),
        "annotations": annotations.hexdigest(),
    }


def _add(rows: dict[str, Any], name: str, value: Any) -> None:
    """Adds a value by its name, and what it consists of by their names: 'ScaleJitter.maximum'."""
    if isinstance(value, np.ndarray | tf.Tensor | tf.Variable):
        value = digest(fingerprints({"value": tf.convert_to_tensor(value)}))
    if _is_plain(value):
        rows[_free(rows, name)] = value
    elif isinstance(value, Mapping):
        for entry, item in value.items():
            _add(rows, f"{name}[{entry}]", item)
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value, start=1):
            _add(rows, f"{name}[{number}]", item)
    else:
        kind = _kind(name, value)
        rows[_free(rows, name)] = _full_name(kind)
        for part, item in _parts(value).items():
            _add(rows, f"{kind.__qualname__}.{part.lstrip('_')}", item)


def _parts(value: Any) -> dict[str, Any]:
    """Returns all that decides the behaviour of an object or function, except its code."""
    if isinstance(value, functools.partial):
        return {"func": value.func, "args": value.args, "keywords": value.keywords}
    if not inspect.isfunction(value):
        return vars(value)
    function = inspect.unwrap(value)  # of gin's wrapper
    parameters = inspect.signature(function).parameters.items()
    defaults = {name: parameter.default for name, parameter in parameters if parameter.default is not parameter.empty}
    try:
        bound = gin.get_bindings(value)
    except ValueError:  # gin does not know it
        bound = {}
    return {**inspect.getclosurevars(function).nonlocals, **defaults, **bound}


def _full_name(kind: Any) -> str:
    """The name of a class or function with its module, of tf_frozen's the package: its modules may move."""
    return f"{package_of(kind.__module__)}.{kind.__qualname__}"


def _kind(name: str, value: Any) -> Any:
    """A function itself, or the class of an object; ConfigError for what has no attributes to compare."""
    if inspect.isfunction(value):
        return value
    if hasattr(value, "__dict__") and not isinstance(value, tf.Module | type):
        return type(value)
    raise ConfigError(
        f"{name} is {value!r}: a feature cache could not detect changes of it. Make it an object of a class whose "
        f"attributes are numbers, strings, arrays or such objects; or train without a cache."
    )


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return isinstance(value, _PLAIN)


def _free(rows: Mapping[str, Any], name: str) -> str:
    """The name, with a number where there is one already: two operations of one class."""
    names = itertools.chain([name], (f"{name} #{number}" for number in itertools.count(2)))
    return next(free for free in names if free not in rows)
