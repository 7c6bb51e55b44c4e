"""Freezing policy: ordered patterns over variable paths; the first that matches a variable decides if it trains."""

from __future__ import annotations

import collections
import re
from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any, NamedTuple

import gin
import tensorflow as tf

from tf_frozen.config.checked import Checked
from tf_frozen.config.ranges import PositiveInt
from tf_frozen.config.suggest import did_you_mean
from tf_frozen.errors import ConfigError
from tf_frozen.freezing.variable_paths import frozen_variables, layers_with_weights, variable_paths
from tf_frozen.keras_flavor import keras
from tf_frozen.layers.building import build

FROZEN, TRAINED = "frozen", "trained"
_NORMS = (keras.layers.BatchNormalization, keras.layers.experimental.SyncBatchNormalization)
_EXAMPLE = "('backbone/stage_3/.*', 'frozen')"
_NAMED = 8


class Decision(NamedTuple):
    """Whether a variable trains, which pattern decided it, and its origin: a gin rule or the backbone's mode."""

    path: str
    pattern: str
    outcome: str
    source: str
    parameters: int


class _Rule(NamedTuple):
    pattern: str
    outcome: str
    source: str
    claims: Callable[[str], object]


@gin.configurable
class Policy(Checked):
    """Decides which variables of a detector are frozen and which train, moving statistics included.

    `rules` are (pattern, 'frozen' or 'trained'): regular expressions that are matched on whole variable paths such as
    'backbone/stage_3/stem_conv/kernel'. The first that matches a variable claims it; after them come the rules that the
    backbone's mode implies, and layers that were set not trainable stay so. With `until` the rules hold before that
    step, and afterwards the mode alone. Raises ConfigError for an invalid rule.
    """

    def __init__(self, rules: Sequence[tuple[str, str]] = (), until: PositiveInt | None = None):
        self.rules = rules
        self._rules = [_rule(row, number) for number, row in enumerate(rules, start=1)]
        self.until = until

    def phase(self, step: int) -> int:
        """The step at which what trains at `step` began to: 0, or `until`."""
        return self.until if self.until is not None and step >= self.until else 0

    def apply(self, detector: keras.Model, step: int = 0) -> list[Decision]:
        """Makes the detector train what this policy says for `step`, whatever it trained before.

        A compiled detector must be compiled again, as Keras trains what did when it was compiled, with an optimizer
        that is built for the new `detector.trainable_variables`. Raises ConfigError, before anything is changed, where
        a rule claims nothing, would train a frozen backbone or splits a batch norm, where `until` changes nothing, and
        where nothing would train.
        """
        if not detector.neck.built:
            build(detector)
        paths = variable_paths(detector)
        if detector.frozen_as_built is None:
            detector.frozen_as_built = frozenset(frozen_variables(detector))
        implied = _implied(detector, paths, detector.frozen_as_built)
        rules = [*(self._rules if not self.phase(step) else ()), *implied]
        decisions = _decide(rules, paths)
        frozen = {decision.path for decision in decisions if decision.outcome == FROZEN}
        _check_claims(rules, decisions)
        _check_mode(detector, paths, decisions)
        _check_norms(detector, paths, decisions)
        if self.until is not None:
            _check_until(self.until, _decide([*self._rules, *implied], paths), _decide(implied, paths), detector)
        if not any(variable.trainable for path, variable in paths.items() if path not in frozen):
            raise ConfigError(
                f"Nothing of {detector.name} would train: all its variables are frozen. Let a rule of Policy.rules "
                f"train some."
            )
        _set_trainable(detector, {id(paths[path]) for path in frozen})
        return decisions


def table(decisions: Sequence[Decision]) -> str:
    """The decisions as lines for a log, one for each pattern: how many variables, parameters, and an example."""
    groups: dict[tuple[str, str, str], list[Decision]] = {}
    for decision in decisions:
        groups.setdefault((decision.source, decision.pattern, decision.outcome), []).append(decision)
    rows = [("pattern", "", "variables", "values", "from", "such as")]
    # The gin rules by their numbers, then those of the mode.
    for (source, pattern, outcome), group in sorted(groups.items(), key=lambda item: _rank(item[0][0])):
        values = sum(decision.parameters for decision in group)
        rows.append((pattern, outcome, f"{len(group):,}", f"{values:,}", source, group[0].path))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(_aligned(row, widths) for row in rows)


def as_dict(decisions: Sequence[Decision]) -> dict[str, Any]:
    """All decisions, for JSON: counts of variables by outcome, and a row for each variable."""
    counts = collections.Counter(decision.outcome for decision in decisions)
    return {
        FROZEN: counts[FROZEN],
        TRAINED: counts[TRAINED],
        "variables": [decision._asdict() for decision in decisions],
    }


def _rule(row: tuple[str, str], number: int) -> _Rule:
    where, (pattern, outcome) = f"Rule {number} of Policy.rules", row
    if outcome not in (FROZEN, TRAINED):
        raise ConfigError(f"{where} decides {outcome!r}; it must be 'frozen' or 'trained', as in {_EXAMPLE}.")
    try:
        claims = re.compile(pattern).fullmatch
    except re.error as error:
        raise ConfigError(
            f"{where}, {pattern!r}, is not a regular expression: {error}. It must match whole paths, as {_EXAMPLE} "
            f"does; '.*' stands for any letters."
        ) from error
    return _Rule(pattern, outcome, f"rule {number}", claims)


def _implied(detector: keras.Model, paths: Mapping[str, tf.Variable], fixed: Set[str]) -> list[_Rule]:
    """The rules that the mode of the backbone stands for, and what was set not trainable."""
    mode = detector.backbone.mode
    source = f"mode '{mode}'"
    rules = [_Rule("set not trainable", FROZEN, "the layer", fixed.__contains__)] if fixed else []
    rules.append(_Rule(".*", TRAINED, source, lambda path: True))
    if mode.startswith("frozen"):
        backbone = re.compile("backbone/.*")
        rules.insert(0, _Rule(backbone.pattern, FROZEN, source, backbone.fullmatch))
    adapters = _adapters(detector, paths)
    return [_Rule("the backbone's adapters", TRAINED, source, adapters.__contains__), *rules] if adapters else rules


def _adapters(detector: keras.Model, paths: Mapping[str, tf.Variable]) -> set[str]:
    ids = {id(variable) for variable in detector.backbone.adapter_variables}
    return {path for path, variable in paths.items() if id(variable) in ids}


def _decide(rules: Sequence[_Rule], paths: Mapping[str, tf.Variable]) -> list[Decision]:
    decisions = []
    for path, variable in paths.items():
        rule = next(rule for rule in rules if rule.claims(path))
        decisions.append(Decision(path, rule.pattern, rule.outcome, rule.source, variable.shape.num_elements()))
    return decisions


def _check_until(until: int, before: Sequence[Decision], after: Sequence[Decision], detector: keras.Model) -> None:
    """Raises ConfigError where the same variables train before the step `until` and after it."""
    if [decision.outcome for decision in before] == [decision.outcome for decision in after]:
        raise ConfigError(
            f"Policy.until is {until}, but nothing changes at that step: with Policy.rules and without them the same "
            f"variables train, as the backbone's mode is '{detector.backbone.mode}'. To freeze the backbone first and "
            f"train all later, set BACKBONE_MODE = 'fine_tune' and Policy.rules = [('backbone/.*', 'frozen')]. "
            f"Otherwise leave Policy.until out."
        )


def _check_claims(rules: Sequence[_Rule], decisions: Sequence[Decision]) -> None:
    """Raises ConfigError for a rule of the user that decides about no variable."""
    claimed = {decision.source for decision in decisions}
    for rule in rules:
        if rule.source in claimed or not rule.source.startswith("rule"):
            continue
        others = {decision.source: decision.pattern for decision in decisions if rule.claims(decision.path)}
        if others:
            earlier = ", ".join(f"{source}, {pattern!r}" for source, pattern in others.items())
            raise ConfigError(
                f"Policy.rules: {rule.source}, {rule.pattern!r}, decides nothing: all that it matches is claimed "
                f"before it by {earlier}. Put it first, or remove it."
            )
        raise ConfigError(
            f"Policy.rules: {rule.source}, {rule.pattern!r}, matches no variable."
            f"{_nearest(rule.pattern, [decision.path for decision in decisions])}"
        )


def _nearest(pattern: str, paths: Sequence[str]) -> str:
    """Returns the possible continuations at the place where the pattern stops matching, and the nearest one."""
    tops: dict[str, list[str]] = {}
    for path in paths:
        names = path.split("/")
        for depth in range(len(names)):
            under = tops.setdefault("/".join(names[:depth]), [])
            if names[depth] not in under:
                under.append(names[depth])
    left, pieces = [""], pattern.split("/")
    for depth in range(1, len(pieces)):
        matching = [top for top in tops if _matches("/".join(pieces[:depth]), top)]
        if not matching:
            break
        left = matching
    places = [f"{top}/{name}" if top else name for top in left for name in tops[top]]
    listed = ", ".join(f"'{place}'" for place in places[:_NAMED])
    more = f" and {len(places) - _NAMED} more" if len(places) > _NAMED else ""
    close = did_you_mean(re.sub(r"[\\^$.*+?()\[\]|]+", "", pattern).strip("/"), [*tops, *paths])
    return f"{close} There it could be {listed}{more}; patterns must match whole paths, as '{places[0]}/.*' does."


def _matches(pattern: str, text: str) -> bool:
    try:
        return re.fullmatch(pattern, text) is not None
    except re.error:  # A slash stood inside a group.
        return False


def _check_mode(detector: keras.Model, paths: Mapping[str, tf.Variable], decisions: Sequence[Decision]) -> None:
    """Raises ConfigError where a backbone would train whose mode says that it is frozen."""
    mode = detector.backbone.mode
    adapters = _adapters(detector, paths)
    trained = [
        decision
        for decision in decisions
        if decision.outcome == TRAINED and decision.path.startswith("backbone/") and decision.path not in adapters
    ]
    if mode.startswith("frozen") and trained:
        raise ConfigError(
            f"Policy.rules: {trained[0].source}, {trained[0].pattern!r}, would train {len(trained)} variables of a "
            f"backbone whose mode is '{mode}', as {trained[0].path}. Set BACKBONE_MODE = 'fine_tune' and freeze a part "
            f"of it by rules, as {_EXAMPLE}."
        )


def _check_norms(detector: keras.Model, paths: Mapping[str, tf.Variable], decisions: Sequence[Decision]) -> None:
    """Raises ConfigError where a batch norm would train in part: its statistics belong to its scale."""
    by_id = {id(paths[decision.path]): decision for decision in decisions}
    for path, (layer, weights) in layers_with_weights(detector).items():
        found = {by_id[id(weight)].outcome: by_id[id(weight)] for weight in weights}
        if isinstance(layer, _NORMS) and len(found) > 1:
            ways = " and ".join(
                f"{each.path.rpartition('/')[2]} is {each.outcome} by {each.source}, {each.pattern!r}"
                for each in found.values()
            )
            raise ConfigError(
                f"Policy.rules split the batch norm {path}: {ways}. Its scale, shift and moving statistics belong "
                f"together: let one pattern match them all, as '{path}/.*'."
            )


def _set_trainable(detector: keras.Model, frozen: set[int]) -> None:
    """Layers train unless all their weights are frozen; frozen weights of layers that train are held one by one."""
    layers = [module for module in detector.submodules if isinstance(module, keras.layers.Layer) and module.weights]
    # Keras sets what lies in a layer along with it, so outer ones come first.
    for layer in sorted(layers, key=lambda layer: -len(layer.submodules)):
        layer.trainable = not frozen >= {id(weight) for weight in layer.weights}
    detector.hold(weight for layer in layers if layer.trainable for weight in layer.weights if id(weight) in frozen)


def _rank(source: str) -> tuple[bool, int]:
    return not source.startswith("rule"), int(source.rpartition(" ")[2]) if source.startswith("rule") else 0


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    pattern, outcome, variables, values, source, example = row
    cells = [pattern.ljust(widths[0]), outcome.ljust(widths[1]), variables.rjust(widths[2]), values.rjust(widths[3])]
    return "  ".join([*cells, source.ljust(widths[4]), example]).rstrip()
