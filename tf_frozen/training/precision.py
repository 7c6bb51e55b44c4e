"""Sets the precision in which layers compute."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from tf_frozen.keras_flavor import keras

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")


@contextlib.contextmanager
def precision_of_layers(policy: str) -> Iterator[None]:
    """Layers made within it compute by this Keras policy, one of PRECISIONS; Keras's setting is restored."""
    before = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy(policy)
    try:
        yield
    finally:
        keras.mixed_precision.set_global_policy(before)
