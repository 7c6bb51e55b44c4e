"""The proof that what is frozen stayed frozen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import tensorflow as tf

from tf_frozen.errors import FreezeError
from tf_frozen.freezing.dataflow import DATA, sourced_ops
from tf_frozen.freezing.fingerprint import digest, fingerprints
from tf_frozen.freezing.variable_paths import variable_paths
from tf_frozen.keras_flavor import keras

_ADDITIONS = ("AddN", "AddV2", "Add", "Sub")
_NAMED = 5
_ADVICE = (
    "Nothing but the optimizer may write weights, and it must get model.trainable_variables only; a frozen "
    "layer must run with training=False, and its regularizers must be None. To train the backbone after all, "
    "set BACKBONE_MODE = 'fine_tune'."
)


class Audit:
    """Takes the fingerprints of a model's frozen variables now, and compares them when `finish` is called.

    Checks besides, both times, that the optimizer has no slot for a frozen variable and that no
    regularisation loss uses one. `earlier` is what `as_dict` gave when the run began, for a run that goes
    on from a checkpoint. Raises FreezeError naming the variables; `as_dict` then says so too.
    """

    def __init__(
        self,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer | None = None,
        earlier: Mapping[str, Any] | None = None,
    ):
        self._model, self._optimizer = model, optimizer
        self._frozen = frozen_variables(model)
        self._now = fingerprints(self._frozen)
        self._start = dict(earlier["start"]["fingerprints"]) if earlier else self._now
        self._ended = False
        self._counts: dict[str, int | None] = {"backward_ops": None, "loss_terms": None}
        self._violations: list[str] = []
        _check_promise(model, self._frozen)
        self._check("since the run began")

    def finish(self, step: tf.types.experimental.ConcreteFunction | None = None) -> None:
        """Compares with the start; in a traced train step, looks for gradients through a frozen backbone too."""
        self._now, self._ended = fingerprints(self._frozen), True
        backbone = _frozen_backbone(self._model, self._frozen)
        # A frozen layer further on does pass gradients to what trains before it, so only the backbone must not.
        if step is not None and backbone:
            self._counts["backward_ops"] = backward_ops(step, backbone)
            self._counts["loss_terms"] = loss_terms(step, backbone)
        self._check("during training")

    def as_dict(self) -> dict[str, Any]:
        """The content of freezing.json: verdict, counts, violations, fingerprints at both ends."""
        held = "frozen" if self._frozen else "nothing is frozen"
        verdict = held if self._ended else "not finished"
        return {
            "verdict": "broken" if self._violations else verdict,
            "violations": self._violations,
            "frozen_variables": len(self._frozen),
            "frozen_bytes": sum(v.shape.num_elements() * v.dtype.size for v in self._frozen.values()),
            **self._counts,
            "start": {"digest": digest(self._start), "fingerprints": self._start},
            "end": {"digest": digest(self._now), "fingerprints": self._now} if self._ended else None,
        }

    def _check(self, when: str) -> None:
        changed = [path for path in {**self._start, **self._now} if self._start.get(path) != self._now.get(path)]
        slots = slotted(self._optimizer, self._model, self._frozen) if self._optimizer else []
        losses = regularised(self._model, self._frozen)
        self._counts |= {"changed": len(changed), "optimizer_slots": len(slots), "regularised": len(losses)}
        found = {
            f"frozen variables changed {when}": changed,
            "frozen variables have optimizer slots": slots,
            "frozen variables are in a regularisation loss": losses,
        }
        self._violations = [_sentence(what, paths) for what, paths in found.items() if paths]
        in_step = {
            "backward_ops": "ops of the train step carry gradients through the frozen backbone",
            "loss_terms": "sums of the train step add frozen weights to the loss",
        }
        self._violations += [f"{self._counts[key]} {what}" for key, what in in_step.items() if self._counts[key]]
        if self._violations:
            raise FreezeError(f"{self._model.name} is not frozen: {'; '.join(self._violations)}. {_ADVICE}")


def frozen_variables(model: keras.Model) -> dict[str, tf.Variable]:
    """The weights, moving statistics too, of every layer that is not trainable or lies in one, by path."""
    layers = [module for module in model.submodules if isinstance(module, keras.layers.Layer)]
    frozen = {id(weight) for layer in [model, *layers] if not layer.trainable for weight in layer.weights}
    return {path: variable for path, variable in variable_paths(model).items() if id(variable) in frozen}


def slotted(
    optimizer: keras.optimizers.Optimizer, model: keras.Model, variables: Mapping[str, tf.Variable]
) -> list[str]:
    """Paths of those of the model's variables that the optimizer keeps slots for, or would update."""
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    # Keras has no public question for this; its optimizers, old and new, keep a dict by the variable's key.
    keys = optimizer._slots if hasattr(optimizer, "_slots") else getattr(optimizer, "_index_dict", {})
    # That dict forgets when an optimizer is built again; the slot stays, named 'm/stem_conv/kernel:0'.
    known = optimizer.variables
    names = {variable.name.partition("/")[2] for variable in (known() if callable(known) else known)}
    names -= {variable.name for variable in model.trainable_variables}
    return [path for path, v in variables.items() if v._unique_id in keys or v.name in names]


def regularised(model: keras.Model, variables: Mapping[str, tf.Variable]) -> list[str]:
    """Paths of the variables that `model.losses` (regularizers and add_loss) is computed from."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(list(variables.values()))
        # What a layer added while it was traced belongs to that trace and has no value here.
        losses = [loss for loss in model.losses if not tf.is_symbolic_tensor(loss)]
        total = tf.add_n([tf.cast(tf.reduce_sum(loss), tf.float32) for loss in losses]) if losses else None
    if total is None:
        return []
    gradients = tape.gradient(total, dict(variables))
    return [path for path, gradient in gradients.items() if gradient is not None]


def backward_ops(function: tf.types.experimental.ConcreteFunction, variables: Iterable[tf.Variable]) -> int:
    """How many ops of a traced train step carry a gradient through the weighted layers of `variables`.

    A gradient on its way through a layer comes from layers behind it and meets the layer's weights. So the
    ops are those that combine a value computed from `variables` alone with one computed from other
    variables, except by addition. That needs no op names; a frozen backbone outside the tape gives 0, one
    inside it about one for each layer with weights. `variables` must stand at the network's input, as a
    backbone's do.
    """
    return len([op for op in _mixing_ops(function, variables) if op.type not in _ADDITIONS])


def loss_terms(function: tf.types.experimental.ConcreteFunction, variables: Iterable[tf.Variable]) -> int:
    """How many ops of a traced train step add what was computed from `variables` alone, as L2 terms are."""
    return len([op for op in _mixing_ops(function, variables) if op.type in _ADDITIONS])


def _mixing_ops(
    function: tf.types.experimental.ConcreteFunction, variables: Iterable[tf.Variable]
) -> list[tf.Operation]:
    mixing = []
    for op, sources in sourced_ops(function, {"part": variables}):
        # A handle is not a value: to write a variable is not to use it.
        values = [s for s, tensor in zip(sources, op.inputs, strict=True) if tensor.dtype != tf.resource]
        if frozenset(["part"]) in values and any(s - {"part", DATA} for s in values):
            mixing.append(op)
    return mixing


def _frozen_backbone(model: keras.Model, frozen: Mapping[str, tf.Variable]) -> list[tf.Variable]:
    """The weights of a backbone that is frozen as a whole, else none."""
    held = {id(variable) for variable in frozen.values()}
    weights = getattr(getattr(model, "backbone", None), "weights", [])
    return weights if all(id(weight) in held for weight in weights) else []


def _check_promise(model: keras.Model, frozen: Mapping[str, tf.Variable]) -> None:
    backbone = getattr(model, "backbone", None)
    if getattr(backbone, "mode", None) not in ("frozen", "frozen_random"):
        return
    held = {id(variable) for variable in frozen.values()}
    free = [path for path, v in variable_paths(backbone).items() if id(v) not in held]
    if free:
        raise FreezeError(
            f"The backbone's mode is {backbone.mode!r}, but "
            f"{_sentence('of its variables are not frozen', free)}. "
            "Something set `trainable` on the backbone after it was built; set the mode instead."
        )


def _sentence(what: str, paths: list[str]) -> str:
    more = f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else ""
    return f"{len(paths)} {what}: {', '.join(paths[:_NAMED])}{more}"
