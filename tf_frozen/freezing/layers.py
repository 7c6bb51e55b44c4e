"""Lists a model's layers: what each one holds, whether it trains, and why not."""

from __future__ import annotations

from typing import Any

from tf_frozen.freezing.variable_paths import layers_with_weights, parts
from tf_frozen.keras_flavor import keras

_SET = "it is set not trainable"


def layers(model: keras.Model) -> list[dict[str, Any]]:
    """A row {path, type, parameters, statistics, trains} for each layer that owns weights, in order.

    `trains` is whether an optimizer that gets model.trainable_variables updates them.
    """
    trained = {id(variable) for variable in model.trainable_variables}
    rows = []
    for path, (layer, weights) in layers_with_weights(model).items():
        sizes = {True: 0, False: 0}
        for weight in weights:
            sizes[weight.trainable] += weight.shape.num_elements()
        rows.append(
            {
                "path": path,
                "type": type(layer).__name__,
                "parameters": sizes[True],
                "statistics": sizes[False],
                "trains": any(id(weight) in trained for weight in weights),
            }
        )
    return rows


def reasons(model: keras.Model) -> dict[str, str]:
    """Why what is frozen is frozen: a phrase for each part of the model that holds a frozen layer."""
    rows, found = layers(model), {}
    for path, part in parts(model).items():
        inside = [row for row in rows if row["path"] == path or row["path"].startswith(f"{path}/")]
        frozen = sum(not row["trains"] for row in inside)
        if frozen == len(inside):
            found[path] = _reason(part)
        elif frozen:
            why = _reason(part)
            found[path] = f"{frozen} of its {len(inside)} layers are set not trainable"
            found[path] += f": {why}" if why != _SET else ""
    return found


def _reason(part: keras.layers.Layer) -> str:
    mode = getattr(part, "mode", None)
    if mode is None or not mode.startswith("frozen"):  # by a policy, or by hand
        return _SET
    return f"its mode is {mode!r}, its weights are {part.weights_source or 'random'}"
