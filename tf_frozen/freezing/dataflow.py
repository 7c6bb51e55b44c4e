"""Finds what every op of a traced function is computed from, to count the ops of each part of a model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import tensorflow as tf

DATA = "data"
_BODIES = {
    "PartitionedCall": ("f",),
    "StatefulPartitionedCall": ("f",),
    "If": ("then_branch", "else_branch"),
    "StatelessIf": ("then_branch", "else_branch"),
    "Case": ("branches",),
    "StatelessCase": ("branches",),
    "While": ("cond", "body"),
    "StatelessWhile": ("cond", "body"),
}
_NOTHING: frozenset[str] = frozenset()

Sources = frozenset[str]
SourcedOp = tuple[tf.Operation, list[Sources]]
Derive = Callable[[tf.Operation, list[Sources]], Sources]


def union(op: tf.Operation, sources: list[Sources]) -> Sources:
    """The sources of an op's outputs: all of its inputs'."""
    return _NOTHING.union(*sources)


def sourced_ops(
    function: tf.types.experimental.ConcreteFunction,
    groups: Mapping[str, Iterable[tf.Variable]],
    derive: Derive = union,
) -> list[SourcedOp]:
    """Every op of a traced function, inner functions too, each with the sources of each of its inputs.

    A source is the group a variable is in, 'other' for a variable in none, or 'data' for the function's
    arguments; constants have none, and what decides a branch or the turns of a loop is not a source of its values.
    Names play no part: a variable is recognised by the handle that the function captured. The body of a loop is
    listed once, the body of a function once for each call. `derive` gives the sources of an op's outputs from those
    of its inputs, and may add its own sources.
    """
    owners = {id(handle): group for group, variables in groups.items() for handle in handles(variables)}
    captured = {inner.name: _of_capture(outer, owners) for outer, inner in function.graph.captures}
    inputs = [captured.get(tensor.name, frozenset([DATA])) for tensor in function.graph.inputs]
    found: list[SourcedOp] = []
    _follow(function.graph, inputs, found, derive)
    return found


def handles(variables: Iterable[tf.Variable]) -> list[tf.Tensor]:
    """The resource handles of variables, of every replica's copy where there are several."""
    return [copy.handle for variable in variables for copy in getattr(variable, "values", [variable])]


def _of_capture(outer: tf.Tensor, owners: Mapping[int, str]) -> Sources:
    if outer.dtype != tf.resource:
        return _NOTHING
    return frozenset([owners.get(id(outer), "other")])


def _follow(graph: tf.Graph, inputs: Sequence[Sources], found: list[SourcedOp], derive: Derive) -> list[Sources]:
    """Appends the graph's ops to `found`, and gives the sources of its outputs."""
    known = {tensor.name: sources for tensor, sources in zip(graph.inputs, inputs, strict=True)}
    for op in graph.get_operations():
        if op.type == "Placeholder":
            continue
        sources = [known[tensor.name] for tensor in op.inputs]
        if op.type in _BODIES:
            outputs = _follow_bodies(op, sources, found, derive)
        else:
            found.append((op, sources))
            is_source = not op.inputs and op.type != "Const"
            outputs = [frozenset([DATA]) if is_source else derive(op, sources)] * len(op.outputs)
        known.update(zip((tensor.name for tensor in op.outputs), outputs, strict=True))
    return [known[tensor.name] for tensor in graph.outputs]


def _follow_bodies(op: tf.Operation, sources: list[Sources], found: list[SourcedOp], derive: Derive) -> list[Sources]:
    bodies = [body for name in _BODIES[op.type] for body in _functions(op, name)]
    if op.type.endswith("While"):
        return _follow_loop(bodies[0], bodies[1], sources, found, derive)
    arguments = sources if op.type.endswith("Call") else sources[1:]
    outputs = [_follow(body, arguments, found, derive) for body in bodies]
    return [_NOTHING.union(*same) for same in zip(*outputs, strict=True)]


def _follow_loop(
    condition: tf.Graph, body: tf.Graph, state: list[Sources], found: list[SourcedOp], derive: Derive
) -> list[Sources]:
    """Runs the body until no turn adds a source to the loop's state."""
    while True:
        turn: list[SourcedOp] = []
        _follow(condition, state, turn, derive)
        after = [old | new for old, new in zip(state, _follow(body, state, turn, derive), strict=True)]
        if after == state:
            found.extend(turn)
            return state
        state = after


def _functions(op: tf.Operation, name: str) -> list[tf.Graph]:
    value = op.get_attr(name)
    named = value if isinstance(value, list) else [value]
    return [op.graph._get_function(function.name).graph for function in named]  # noqa: SLF001 (no public way)
