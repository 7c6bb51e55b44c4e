"""Names of layers: given by somebody, or numbered by Keras after what else the process has built."""

from __future__ import annotations

import re

from tf_frozen.keras_flavor import keras


def is_numbered_by_keras(layer: keras.layers.Layer) -> bool:
    """Whether the layer's name is its class's in snake case, as Keras gives it where the user gave none."""
    letters = re.sub(r"(_\d+)?$", "", layer.name)
    return letters.replace("_", "") == type(layer).__name__.lower()
