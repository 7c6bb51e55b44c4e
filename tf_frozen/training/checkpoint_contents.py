"""Checks that a checkpoint can be read, that it fits a model, and that a model's state is finite."""

from __future__ import annotations

import collections
from collections.abc import Collection, Sequence

import tensorflow as tf

from tf_frozen.errors import RunError, listing
from tf_frozen.keras_flavor import keras

_SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"
_READ_ERRORS = (tf.errors.OpError, ValueError, LookupError, RuntimeError, OSError)


def fault(path: str) -> str:
    """Why a checkpoint cannot be read, '' if it can: every tensor is read, which checks its checksum."""
    try:
        reader = tf.train.load_checkpoint(path)
        for name in reader.get_variable_to_shape_map():
            reader.get_tensor(name)
    except _READ_ERRORS as error:
        return str(error).split("\n")[0] or type(error).__name__
    return ""


def step_of(path: str) -> int:
    """The step of the state in a checkpoint, whatever its name."""
    reader = tf.train.load_checkpoint(path)
    name = f"optimizer/_iterations{_SUFFIX}"
    return int(reader.get_tensor(name)) if reader.has_tensor(name) else 0


def saved_variables(root: tf.train.Checkpoint) -> dict[str, tf.Variable]:
    """Every variable that `root` saves, by its path of attributes (breadth first, as TensorFlow names it)."""
    found, seen, queue = {}, {id(root): root}, collections.deque([("", root)])
    while queue:
        path, node = queue.popleft()
        if isinstance(node, tf.Variable):
            found[path] = node
        for name, child in tf.train.TrackableView.children(node).items():
            if id(child) not in seen:
                seen[id(child)] = child  # holding it: an id may be used again once its object is gone
                name = name.replace(".", "..").replace("/", ".S")
                queue.append((f"{path}/{name}" if path else name, child))
    found.pop("save_counter", None)
    return found


def without(
    detector: keras.Model, optimizer: keras.optimizers.Optimizer, excluded: Collection[tf.Variable]
) -> tf.train.Checkpoint:
    """A root that saves detector and optimizer under their usual paths, without the variables `excluded`."""
    whole = tf.train.Checkpoint(detector=detector, optimizer=optimizer)
    if not excluded:
        return whole
    absent = {id(variable) for variable in excluded}
    kept = tf.__internal__.tracking.AutoTrackable()
    for path, variable in saved_variables(whole).items():
        part, *names = path.split("/")
        if part == "detector" and id(variable) not in absent:
            _attach(kept, [name.replace(".S", "/").replace("..", ".") for name in names], variable)
    return tf.train.Checkpoint(detector=kept, optimizer=optimizer)


def _attach(node: tf.__internal__.tracking.AutoTrackable, names: Sequence[str], variable: tf.Variable) -> None:
    """Tracks the variable at the end of that chain of attributes, making the nodes on the way."""
    *between, last = names
    for name in between:
        if not hasattr(node, name):
            setattr(node, name, tf.__internal__.tracking.AutoTrackable())
        node = getattr(node, name)
    setattr(node, last, variable)


def differences(path: str, variables: dict[str, tf.Variable]) -> str:
    """Lists what only the checkpoint or the model has, and differences of shape or type; '' if none."""
    stored, wanted = _kinds(path, variables)
    both = sorted(stored.keys() & wanted.keys())
    changed = [f"{k}: {stored[k]} there, {wanted[k]} here" for k in both if stored[k] != wanted[k]]
    missing = [f"{k} {wanted[k]} ({variables[k].name})" for k in sorted(wanted.keys() - stored.keys())]
    extra = [f"{k} {stored[k]}" for k in sorted(stored.keys() - wanted.keys())]
    found = {"missing in the checkpoint": missing, "extra in it": extra, "of another shape": changed}
    # Another detector has another optimizer: listing that too would hide the cause.
    part = "detector/" if any(row.startswith("detector/") for rows in found.values() for row in rows) else ""
    found = {title: [row for row in rows if row.startswith(part)] for title, rows in found.items()}
    return "\n".join(listing(title, rows) for title, rows in found.items() if rows)


def other_slots(path: str, variables: dict[str, tf.Variable]) -> tuple[int, int] | None:
    """Returns the numbers of slots and averages in the checkpoint and in the model, if only these differ."""
    stored, wanted = _kinds(path, variables)
    different = {key for key in stored.keys() | wanted.keys() if stored.get(key) != wanted.get(key)}
    if not different or not all(map(_is_slot, different)):
        return None
    return sum(map(_is_slot, stored)), sum(map(_is_slot, wanted))


def _kinds(path: str, variables: dict[str, tf.Variable]) -> tuple[dict[str, str], dict[str, str]]:
    """The dtype and shape of each variable in the checkpoint and of each in the model."""
    reader = tf.train.load_checkpoint(path)
    dtypes = reader.get_variable_to_dtype_map()
    stored = {
        key.removesuffix(_SUFFIX): f"{dtypes[key].name}{list(shape)}"
        for key, shape in reader.get_variable_to_shape_map().items()
        if key.endswith(_SUFFIX) and key != "save_counter" + _SUFFIX
    }
    return stored, {key: f"{v.dtype.name}{v.shape.as_list()}" for key, v in variables.items()}


def _is_slot(key: str) -> bool:
    return key.startswith("optimizer/") and "/_variables/" in key


def check_finite(variables: dict[str, tf.Variable], step: int) -> None:
    """Raises RunError that names the variables with a NaN or infinity in them after `step` steps."""
    floats = {path: v for path, v in variables.items() if v.dtype.is_floating}
    bad = [path for path, v in floats.items() if not tf.reduce_all(tf.math.is_finite(v))]
    if bad:
        raise RunError(
            f"After step {step} these variables are no longer finite, and no checkpoint was written:\n"
            f"{listing('variables', bad)}\nLower the learning rate or clip the gradients, then run the same "
            "command again: it resumes from the last checkpoint."
        )


def check_reachable(detector: keras.Model, root: tf.train.Checkpoint) -> None:
    """Raises RunError if the detector has variables that `root` would not save."""
    saved = {id(v) for v in saved_variables(root).values()}
    lost = [v.name for v in detector.variables if id(v) not in saved]
    if lost:
        raise RunError(f"A checkpoint would not hold {lost}: keep the layers that own them as attributes.")
