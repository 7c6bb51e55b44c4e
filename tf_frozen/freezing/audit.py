"""The freezing audit: proves that frozen variables did not change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import tensorflow as tf

from tf_frozen.errors import FreezeError
from tf_frozen.freezing.fingerprint import digest, fingerprints
from tf_frozen.freezing.traced_step import TracedStep
from tf_frozen.freezing.variable_paths import frozen_variables, variable_paths
from tf_frozen.keras_flavor import keras

_BATCH_NORMS = (keras.layers.BatchNormalization, keras.layers.experimental.SyncBatchNormalization)
_NAMED = 5
_ADVICE = (
    "Nothing but the optimizer may write weights, and it must get model.trainable_variables only; a frozen "
    "layer must run with training=False, and its regularizers must be None. To train the backbone after all, "
    "set BACKBONE_MODE = 'fine_tune'."
)
_IN_STEP = {
    "backward_ops": "ops of the train step carry gradients through frozen variables",
    "loss_terms": "sums of the train step add frozen weights to the loss",
    "writes": "frozen variables are written to in the train step",
    "batch_statistics": "frozen variables are of batch norms that use the batch's statistics in the train step",
}
_OF_MODEL = {
    "changed": "frozen variables changed",
    "optimizer_slots": "frozen variables have optimizer slots",
    "regularized": "frozen variables are in a regularization loss",
}
CHECKS = (*_OF_MODEL, *_IN_STEP)


class Audit:
    """Takes the fingerprints of a model's frozen variables now, and compares them when `finish` is called.

    Both times it also checks that the optimizer has no slot for a frozen variable and that no regularization loss uses
    one. In the traced step, given to `inspect` and `finish`, it checks that no gradient passes through frozen layers
    that come before all trained ones, that no frozen variable is in the loss or written to, and that frozen batch norms
    use their stored statistics.

    Where the policy changes during a run, each phase has an audit; `from_step` is the phase's first step. `earlier` is
    the previous `as_dict` of a resumed run: the phase continues if it began at the same step; otherwise it is over, and
    a new one begins, in which variables that were frozen before must still have the same values. Raises FreezeError
    naming the variables, unless `raises` is False; `as_dict` has the violations too.
    """

    def __init__(
        self,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer | None = None,
        earlier: Mapping[str, Any] | None = None,
        from_step: int = 0,
        raises: bool = True,
    ):
        self._model, self._optimizer, self._raises = model, optimizer, raises
        self._frozen = frozen_variables(model)
        self._now = fingerprints(self._frozen)
        self._start, self._phases = _begin(self._now, earlier, from_step)
        self._from_step, self._ended = from_step, False
        self._counts: dict[str, int | None] = dict.fromkeys(CHECKS)
        self._names: dict[str, list[str]] = {}
        _check_promise(model, self._frozen)
        self._check("since the run began")

    def inspect(self, step: tf.types.experimental.ConcreteFunction) -> None:
        """Checks a traced train step, before it runs or after."""
        self._read(step)
        self._check("since the run began")

    def finish(self, step: tf.types.experimental.ConcreteFunction | None = None) -> None:
        """Compares with the start, and inspects the traced train step if there is one."""
        self._now, self._ended = fingerprints(self._frozen), True
        if step is not None:
            self._read(step)
        self._check("during training")

    def _read(self, step: tf.types.experimental.ConcreteFunction) -> None:
        held = {id(variable) for variable in self._frozen.values()}
        traced = TracedStep(step, self._frozen, [v for v in self._model.weights if id(v) not in held])
        self._note("backward_ops", traced.backward_ops())
        self._note("loss_terms", traced.loss_terms())
        self._note("writes", [{path} for path in traced.writes()])
        self._note("batch_statistics", [{path} for path in traced.batch_statistics()])

    def as_dict(self) -> dict[str, Any]:
        """The content of freezing.json: verdict, counts, violations, fingerprints at both ends, phases before this."""
        held = "frozen" if self._frozen else "nothing is frozen"
        verdict = held if self._ended else "not finished"
        return {
            "verdict": "broken" if self._violations else verdict,
            "violations": self._violations,
            "names": {key: names for key, names in self._names.items() if names},
            "from_step": self._from_step,
            "frozen_variables": len(self._frozen),
            "frozen_bytes": sum(v.shape.num_elements() * v.dtype.size for v in self._frozen.values()),
            "frozen_norms": _frozen_norms(self._model),
            **self._counts,
            "start": {"digest": digest(self._start), "fingerprints": self._start},
            "end": {"digest": digest(self._now), "fingerprints": self._now} if self._ended else None,
            "phases": self._phases,
        }

    def _note(self, key: str, found: Iterable[set[str]]) -> None:
        found = list(found)
        self._counts[key] = len(found)
        self._names[key] = [path for path in self._frozen if any(path in paths for paths in found)]

    def _check(self, when: str) -> None:
        changed = [path for path in {**self._start, **self._now} if self._start.get(path) != self._now.get(path)]
        slots = slotted(self._optimizer, self._model, self._frozen) if self._optimizer else []
        losses = regularized(self._model, self._frozen)
        for key, paths in (("changed", changed), ("optimizer_slots", slots), ("regularized", losses)):
            self._counts[key], self._names[key] = len(paths), paths
        what = {**_OF_MODEL, "changed": f"frozen variables changed {when}", **_IN_STEP}
        self._violations = [
            _sentence(self._counts[key], what[key], self._names[key]) for key in CHECKS if self._counts[key]
        ]
        if self._violations and self._raises:
            raise FreezeError(f"{self._model.name} is not frozen: {'; '.join(self._violations)}. {_ADVICE}")


def slotted(
    optimizer: keras.optimizers.Optimizer, model: keras.Model, variables: Mapping[str, tf.Variable]
) -> list[str]:
    """Paths of those of the model's variables that the optimizer keeps slots for, or would update."""
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    # Keras has no public API for this; its optimizers, old and new, keep a dict by the variable's key.
    keys = optimizer._slots if hasattr(optimizer, "_slots") else getattr(optimizer, "_index_dict", {})
    # That dict forgets when an optimizer is built again; the slot stays, named 'm/stem_conv/kernel:0'.
    known = optimizer.variables
    names = {variable.name.partition("/")[2] for variable in (known() if callable(known) else known)}
    names -= {variable.name for variable in model.trainable_variables}
    return [path for path, v in variables.items() if v._unique_id in keys or v.name in names]


def regularized(model: keras.Model, variables: Mapping[str, tf.Variable]) -> list[str]:
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


def _begin(
    now: Mapping[str, str], earlier: Mapping[str, Any] | None, from_step: int
) -> tuple[dict[str, str], list[dict[str, Any]]]:
    """The fingerprints that this phase is held to, and the phases that are over."""
    if earlier is None:
        return dict(now), []
    start, phases = earlier["start"]["fingerprints"], list(earlier.get("phases", []))
    if earlier.get("from_step", 0) == from_step:
        return dict(start), phases
    over = {key: value for key, value in earlier.items() if key != "phases"}
    return {path: start.get(path, value) for path, value in now.items()}, [*phases, over]


def _frozen_norms(model: keras.Model) -> int:
    norms = [module for module in model.submodules if isinstance(module, _BATCH_NORMS)]
    return sum(bool(norm.weights) and not norm.trainable for norm in norms)


def _check_promise(model: keras.Model, frozen: Mapping[str, tf.Variable]) -> None:
    backbone = getattr(model, "backbone", None)
    if not str(getattr(backbone, "mode", "")).startswith("frozen"):
        return
    held = {id(variable) for variable in [*frozen.values(), *backbone.adapter_variables]}
    free = [path for path, v in variable_paths(backbone).items() if id(v) not in held]
    if free:
        raise FreezeError(
            f"The backbone's mode is {backbone.mode!r}, but "
            f"{_sentence(len(free), 'of its variables are not frozen', free)}. "
            "Something set `trainable` on the backbone after it was built; set the mode instead."
        )


def _sentence(count: int, what: str, paths: list[str]) -> str:
    more = f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else ""
    return f"{count} {what}: {', '.join(paths[:_NAMED])}{more}"
