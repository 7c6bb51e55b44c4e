"""Records the frozen weights that a checkpoint excludes: their fingerprints, and the source to reload them from."""

from __future__ import annotations

import json
from collections.abc import Mapping

import tensorflow as tf

from tf_frozen.errors import RunError, listing
from tf_frozen.freezing.fingerprint import digest, fingerprints
from tf_frozen.keras_flavor import keras

_KEY = "left_out/.ATTRIBUTES/py_state"


class LeftOut(tf.train.experimental.PythonState):
    """The record in the checkpoint itself, as JSON {source, backbone, digest, fingerprints by variable path}."""

    def __init__(self, detector: keras.Model, fingerprints: Mapping[str, str]):
        self.fingerprints = dict(fingerprints)
        self.source, self.backbone = described(detector)

    def serialize(self) -> str:
        """The record as JSON."""
        record = {"source": self.source, "backbone": self.backbone, "digest": digest(self.fingerprints)}
        return json.dumps(record | {"fingerprints": self.fingerprints})

    def deserialize(self, string_value: str) -> None:
        """Does nothing: the record was compared before the checkpoint was restored."""


def read_left_out(path: str) -> dict | None:
    """The record in a checkpoint, None in one that holds everything."""
    reader = tf.train.load_checkpoint(path)
    return json.loads(reader.get_tensor(_KEY)) if reader.has_tensor(_KEY) else None


def described(detector: keras.Model) -> tuple[str | None, str | None]:
    """Describes the source of the backbone's weights, and the backbone's class and arguments."""
    backbone = getattr(detector, "backbone", None)
    if backbone is None:
        return None, None
    arguments = {name: value for name, value in backbone.get_config().items() if name not in ("name", "mode")}
    text = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
    return backbone.weights_source, f"{type(backbone).__name__}({text})"


def check_same(path: str, record: Mapping, detector: keras.Model, variables: Mapping[str, tf.Variable]) -> None:
    """Raises RunError unless what the checkpoint at `path` excludes is, bit for bit, in the detector's `variables`."""
    there = record["fingerprints"]
    here = fingerprints({name: variable for name, variable in variables.items() if name in there})
    if here == there:
        return
    source, backbone = described(detector)
    missing = [name for name in there if name not in here]
    changed = [name for name in there if name in here and here[name] != there[name]]
    rows = {"that this backbone lacks": missing, "of other values or shape": changed}
    raise RunError(
        f"Checkpoint {path} was trained on another backbone, whose {len(there)} frozen variables it excludes:\n"
        f"  there {record['backbone']}, weights: {record['source']}, digest {record['digest'][:12]}\n"
        f"  here  {backbone}, weights: {source or 'random'}, digest {digest(here)[:12]}\n"
        + "\n".join(listing(f"variables {title}", names) for title, names in rows.items() if names)
        + "\nGive the backbone the weights that it was trained on (config.gin in the run's folder), or use another "
        "model_dir."
    )
