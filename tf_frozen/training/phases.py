"""The phases of a run: before and after the step at which the policy changes, each with its own optimizer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import tensorflow as tf

from tf_frozen.detectors.detector import Detector
from tf_frozen.freezing.policy import Decision, Policy
from tf_frozen.freezing.variable_paths import variable_paths
from tf_frozen.keras_flavor import keras
from tf_frozen.training.averaging import ramp_momentum
from tf_frozen.training.checkpoint_contents import saved_variables
from tf_frozen.training.rates import factors, scale_updates


class Phases:
    """Makes a detector train what `policy` says for a step.

    `begin` is the step at which the present phase began; `decisions` are the policy's for it. `rates` are factors of
    the learning rate by patterns of variable paths, see `rates.factors`.
    """

    def __init__(
        self,
        detector: Detector,
        policy: Policy,
        new_optimizer: Callable[[], keras.optimizers.Optimizer],
        rates: Sequence[tuple[str, float]] = (),
    ):
        self._detector, self._policy, self._new_optimizer, self._rates = detector, policy, new_optimizer, rates
        self.begin: int | None = None
        self.decisions: Sequence[Decision] = ()
        self._optimizer: keras.optimizers.Optimizer | None = None
        self.enter(0)

    def enter(self, step: int) -> keras.optimizers.Optimizer:
        """The optimizer of the phase that `step` lies in; what trained before keeps its slots and averages."""
        begin = self._policy.phase(step)
        if begin == self.begin:
            return self._optimizer
        self.decisions = self._policy.apply(self._detector, step)
        optimizer, before = self._new_optimizer(), self._optimizer
        variables = self._detector.trainable_variables
        optimizer.build(variables)
        new = [] if before is None else carry_over(before, optimizer, variables)
        inner = getattr(optimizer, "inner_optimizer", optimizer)
        ramp_momentum(inner, late=new, begin=begin)
        if self._rates:
            scale_updates(inner, factors(self._rates, variable_paths(self._detector)))
        self._detector.compile(optimizer)
        self.begin, self._optimizer = begin, optimizer
        return optimizer

    def end(self, total: int) -> int:
        """The step that the present phase ends at, in a run of `total` steps."""
        until = self._policy.until
        return total if until is None or self.begin == until else min(until, total)


def carry_over(
    before: keras.optimizers.Optimizer, after: keras.optimizers.Optimizer, variables: Sequence[tf.Variable]
) -> list[tf.Variable]:
    """Copies to a new optimizer what another one of its kind kept: step, loss scale, and slots of those `variables`.

    Returns those that the other did not train, whose slots are zero and whose averages are their values.
    """
    old, new = _state(before), _state(after)
    for path in old.keys() & new.keys():
        new[path].assign(old[path])
    before, after = (getattr(each, "inner_optimizer", each) for each in (before, after))
    # Keras keeps no name for a slot: there is a list for each kind, in the order of `_index_dict`.
    kinds = {name: slots for name, slots in vars(after).items() if _is_slots(slots, len(after._index_dict))}
    for variable in variables:
        key = variable._unique_id
        if key in before._index_dict:
            for name, slots in kinds.items():
                slots[after._index_dict[key]].assign(getattr(before, name)[before._index_dict[key]])
    return [variable for variable in variables if variable._unique_id not in before._index_dict]


def _state(optimizer: keras.optimizers.Optimizer) -> dict[str, tf.Variable]:
    """The part of the state that belongs to no variable."""
    variables = saved_variables(tf.train.Checkpoint(optimizer=optimizer))
    return {path: v for path, v in variables.items() if "/_variables/" not in path and path.count("/") < 3}


def _is_slots(value: object, count: int) -> bool:
    is_list = isinstance(value, list) and len(value) == count > 0
    return is_list and all(isinstance(each, tf.Variable) for each in value)
