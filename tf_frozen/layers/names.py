"""Tells layer names that were given from those that Keras numbered, which depend on the rest of the process."""

from __future__ import annotations

import re

from tf_frozen.keras_flavor import keras


def is_numbered_by_keras(layer: keras.layers.Layer) -> bool:
    """Whether the layer's name is its class's in snake case, as Keras gives it where the user gave none."""
    letters = re.sub(r"(_\d+)?$", "", layer.name)
    return letters.replace("_", "") == type(layer).__name__.lower()
