"""Loads all variables of a network from a Model Garden checkpoint, or raises an error that lists the mismatches."""

from __future__ import annotations

import collections
import re
from collections.abc import Callable, Hashable, Mapping
from typing import Any

import tensorflow as tf
from tensorflow.core.protobuf import trackable_object_graph_pb2

from tf_frozen.backbones.checkpoint_source import checkpoint_prefix
from tf_frozen.errors import ConfigError, listing
from tf_frozen.keras_flavor import keras
from tf_frozen.layers.building import is_allocated

# Where the network hangs in a checkpoint, the first that exists: in the published ones and in Model Garden's trainer
# (official/core/base_trainer.py) beside the model; inside a detector; inside a classifier; the model is the network.
_PLACES = ("backbone", "model/backbone", "model/_backbone", "model")
_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
_READ_ERRORS = (tf.errors.OpError, ValueError, LookupError, RuntimeError, OSError)


def load_model_garden_checkpoint(network: keras.Model, source: str) -> None:
    """Sets every variable of a Model Garden backbone, moving statistics too, to its value in a checkpoint.

    `source` is a folder, a prefix, a .tar.gz or the http(s) address of one; the layout `backbone=` (published) or
    `model=` (Model Garden's trainer). The network must be whole: the checkpoint's variables and the network's have to
    be the same, in path, dtype and shape. Raises ConfigError that lists all differences, before anything is changed.
    Reads nothing into a network made for counting alone (`unallocated`).
    """
    if not is_allocated(network):
        return
    with checkpoint_prefix(source) as prefix:
        try:
            reader = tf.train.load_checkpoint(prefix)
            place, keys = _keys(reader, source)
            variables = _variables(network)
            differences = _differences(reader, keys, variables)
            if differences:
                raise ConfigError(
                    f"init_checkpoint {source!r} holds, as its `{place}`, another network than {network.name}: "
                    f"{len(keys)} variables there, {len(variables)} here,\n{differences}\n"
                    f"Use the depth and the settings that it was trained with."
                )
            for path, variable in variables.items():
                variable.assign(reader.get_tensor(keys[path]))
        except _READ_ERRORS as error:
            reason = str(error).split("\n")[0]
            raise ConfigError(f"init_checkpoint {source!r} cannot be read: {reason}. Fetch it again.") from error


def _keys(reader: tf.train.CheckpointReader, source: str) -> tuple[str, dict[str, str]]:
    """Returns the backbone's prefix in the checkpoint, and the key of each variable by its path in the backbone."""
    if not reader.has_tensor(_GRAPH):
        raise ConfigError(
            f"init_checkpoint {source!r} is not an object checkpoint, as TensorFlow 2 writes them: it holds "
            f"{len(reader.get_variable_to_shape_map())} variables by name alone. Save the backbone with "
            f"tf.train.Checkpoint(backbone=…)."
        )
    nodes = trackable_object_graph_pb2.TrackableObjectGraph.FromString(reader.get_tensor(_GRAPH)).nodes
    edges = [{edge.local_name: edge.node_id for edge in node.children} for node in nodes]
    places = {place: _at(edges, place) for place in _PLACES}
    place = next((place for place in _PLACES if places[place] is not None), None)
    if place is None:
        raise ConfigError(
            f"init_checkpoint {source!r} has neither `backbone` nor `model` at its top, but\n"
            f"{listing('names', sorted(edges[0]))}\nSave the backbone with tf.train.Checkpoint(backbone=…)."
        )
    stored = {
        index: attribute.checkpoint_key
        for index, node in enumerate(nodes)
        for attribute in node.attributes
        if attribute.name == "VARIABLE_VALUE"
    }
    found = _walk(places[place], edges.__getitem__, int)
    return place, {path: stored[node] for path, node in found.items() if node in stored}


def _at(edges: list[dict[str, int]], place: str) -> int | None:
    node = 0
    for name in place.split("/"):
        node = edges[node].get(name) if node is not None else None
    return node


def _variables(network: keras.Model) -> dict[str, tf.Variable]:
    """The network's variables by the attributes that lead to them, as a checkpoint names them."""
    paths = {id(each): path for path, each in _walk(network, tf.train.TrackableView.children, id).items()}
    # What is not tracked, as a layer in a plain tuple, has no path: no checkpoint holds it.
    return {paths.get(id(weight), weight.name): weight for weight in network.weights}


def _walk(
    root: Any, children: Callable[[Any], Mapping[str, Any]], identity: Callable[[Any], Hashable]
) -> dict[str, Any]:
    """Everything that `root` leads to by its shortest path, of equally short ones the first in the alphabet."""
    found, seen, queue = {}, {identity(root)}, collections.deque([("", root)])
    while queue:
        path, node = queue.popleft()
        found[path] = node
        for name, child in sorted(children(node).items()):
            # Keras counts a layer with weights among all layers too; those without may differ between versions.
            if not re.fullmatch(r"layer-\d+", name) and identity(child) not in seen:
                seen.add(identity(child))
                queue.append((f"{path}/{name}" if path else name, child))
    return found


def _differences(reader: tf.train.CheckpointReader, keys: Mapping[str, str], variables: Mapping) -> str:
    """Lists variables that only the network or the checkpoint has, and differences of dtype or shape; '' if none."""
    dtypes, shapes = reader.get_variable_to_dtype_map(), reader.get_variable_to_shape_map()
    stored = {path: f"{dtypes[key].name}{list(shapes[key])}" for path, key in keys.items()}
    wanted = {path: f"{each.dtype.name}{each.shape.as_list()}" for path, each in variables.items()}
    found = {
        "missing in the checkpoint": [f"{path} {wanted[path]}" for path in wanted if path not in stored],
        "that the network does not have": [f"{path} {stored[path]}" for path in stored if path not in wanted],
        "of another shape or dtype": [
            f"{path}: {stored[path]} there, {wanted[path]} here"
            for path in wanted
            if path in stored and stored[path] != wanted[path]
        ],
    }
    return "\n".join(listing(title, rows) for title, rows in found.items() if rows)
