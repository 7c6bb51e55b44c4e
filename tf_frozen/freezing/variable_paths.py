"""Names for a model's variables and parts that are the same in every process."""

from __future__ import annotations

import collections
import re
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from tf_frozen.errors import FreezeError
from tf_frozen.keras_flavor import keras
from tf_frozen.layers.names import is_numbered_by_keras

# Their attributes lead back to the model's own variables, under names that change once a model is compiled.
_NOT_THE_MODEL = (keras.optimizers.Optimizer, keras.optimizers.legacy.Optimizer, keras.metrics.Metric)


def variable_paths(model: keras.Model) -> dict[str, tf.Variable]:
    """Every weight of the model by the attributes that lead to it: 'neck/convs/0/kernel'.

    In a functional backbone it goes by its stage, 'backbone/stage_3/stem_conv/kernel' (see Backbone.stage_layers). Else
    a path is the shortest chain of checkpoint edges (attribute names, list indices, dict keys), of equally
    short ones the earlier attribute's. A layer of a functional model goes by its name if it was given one,
    else by its position ('layer_with_weights-3'): Keras numbers names by what else the process has built.
    Raises FreezeError for a weight that no attribute leads to: no checkpoint would hold it either.
    """
    weights = {id(weight) for weight in model.weights}
    paths = {id(node): path for path, node in _walk(model) if id(node) in weights}
    lost = [weight.name for weight in model.weights if id(weight) not in paths]
    if lost:
        raise FreezeError(
            f"{model.name}: no attribute leads to {len(lost)} weights ({', '.join(lost[:5])}), so they can "
            f"neither be named nor saved. Keep the layers that own them as attributes, or in lists or "
            f"string-keyed dicts that are attributes."
        )
    return {paths[id(weight)]: weight for weight in model.weights}


def frozen_variables(model: keras.Model) -> dict[str, tf.Variable]:
    """Returns the variables that the model does not train, by path.

    That is the weights, moving statistics too, of every layer that is not trainable or lies in one, and single weights
    that the model holds out of training (`Detector.hold`).
    """
    layers = [module for module in model.submodules if isinstance(module, keras.layers.Layer)]
    frozen = {id(weight) for layer in [model, *layers] if not layer.trainable for weight in layer.weights}
    trained = {id(weight) for weight in model.trainable_weights}
    frozen |= {id(weight) for weight in model.weights if weight.trainable and id(weight) not in trained}
    return {path: variable for path, variable in variable_paths(model).items() if id(variable) in frozen}


def parts(model: keras.Model) -> dict[str, keras.layers.Layer]:
    """The layers with weights directly under the model, by path: 'backbone', 'neck', 'box_heads' or so."""
    found = {}
    for path, node in _walk(model):
        inside = any(path.startswith(f"{part}/") for part in found)
        if isinstance(node, keras.layers.Layer) and node is not model and not inside and node.weights:
            found[path] = node
    return found


def layers_with_weights(model: keras.Model) -> dict[str, tuple[keras.layers.Layer, list[tf.Variable]]]:
    """Each layer that owns weights, with those that no layer inside it owns, by path."""
    layers = {path: node for path, node in _walk(model) if isinstance(node, keras.layers.Layer)}
    owned: dict[str, tuple[keras.layers.Layer, list[tf.Variable]]] = {}
    for path, weight in variable_paths(model).items():
        owner = path.rpartition("/")[0]
        while owner not in layers:
            owner = owner.rpartition("/")[0]
        owned.setdefault(owner, (layers[owner], []))[1].append(weight)
    return owned


def _walk(root: Any) -> Iterator[tuple[str, Any]]:
    """Every object that the root tracks, with its path, breadth first."""
    seen, queue = {id(root)}, collections.deque([("", root)])
    while queue:
        path, node = queue.popleft()
        yield path, node
        for name, child in _children(node).items():
            if id(child) not in seen and not isinstance(child, _NOT_THE_MODEL):
                seen.add(id(child))
                queue.append((f"{path}/{name}" if path else name, child))


def _children(node: Any) -> dict[str, Any]:
    named = dict(getattr(node, "stage_layers", {}))
    for edge, child in tf.train.TrackableView.children(node).items():
        name = edge
        if re.fullmatch(r"layer(_with_weights)?-\d+", edge) and not is_numbered_by_keras(child):
            name = child.name
        # Two edges may lead to one layer, and an attribute may have the name of another layer.
        taken = name in named and named[name] is not child
        named[(edge if taken else name).replace("/", ".")] = child
    return named
