"""Block specs, which wire a cell of NAS-FPN: checks them, and finds the inputs of each node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tf_frozen.errors import ConfigError

# (step above the lowest level, operation, the two inputs, is an output). Inputs 0…4 are the five incoming levels from
# the lowest up, and each node appends one: the cell of the paper's figure 6 (7 nodes, AmoebaNet search). Published
# lists have the level itself, here 3…7, instead of the step.
PAPER_BLOCK_SPECS = (
    (1, "attention", (1, 3), False),
    (1, "sum", (1, 5), False),
    (0, "sum", (0, 6), True),
    (1, "sum", (6, 7), True),
    (2, "attention", (7, 8), True),
    (4, "attention", (6, 9), True),
    (3, "attention", (9, 10), True),
)
_OPERATIONS = ("sum", "attention")


class Node(NamedTuple):
    """One node of a cell; inputs count the incoming levels first, then the nodes in their order."""

    step: int
    operation: str
    inputs: tuple[int, int]
    leftovers: tuple[int, ...]
    """Maps of the node's level that nothing took in before it; an output adds them."""


def as_tuples(block_specs: Sequence[Sequence]) -> tuple[tuple, ...]:
    """The specs with tuples for lists; ConfigError where one is not of the form of PAPER_BLOCK_SPECS."""
    for index, spec in enumerate(block_specs):
        if len(spec) != 4 or len(spec[2]) != 2:
            raise ConfigError(
                f"NASFPN.block_specs: node {index} is {spec!r}; it must be of the form (step above min_level, "
                f"operation, (input, input), is an output)."
            )
    return tuple((step, operation, tuple(inputs), is_output) for step, operation, inputs, is_output in block_specs)


def nodes_of(block_specs: Sequence[tuple], levels: int) -> list[Node]:
    """The nodes of a cell on a number of levels; ConfigError where specs and levels do not fit."""
    _check(block_specs, levels)
    steps, consumed, nodes = list(range(levels)), [False] * levels, []
    for step, operation, inputs, is_output in block_specs:
        for i in inputs:
            consumed[i] = True
        leftovers = [i for i, other in enumerate(steps) if is_output and other == step and not consumed[i]]
        for i in leftovers:
            consumed[i] = True
        nodes.append(Node(step, operation, inputs, tuple(leftovers)))
        steps.append(step)
        consumed.append(False)
    return nodes


def _check(block_specs: Sequence[tuple], levels: int) -> None:
    for index, (step, operation, inputs, _) in enumerate(block_specs):
        known = levels + index
        if operation not in _OPERATIONS or not 0 <= step < levels or not all(0 <= i < known for i in inputs):
            raise ConfigError(
                f"NASFPN.block_specs: node {index} is {block_specs[index]!r}; its step above min_level must lie in "
                f"0…{levels - 1}, its operation in {_OPERATIONS} and its inputs in 0…{known - 1} (the levels and the "
                f"nodes before it). A published list has levels, from which min_level must be subtracted."
            )
    if sorted(step for step, *_ in block_specs[-levels:]) != list(range(levels)):
        raise ConfigError(f"NASFPN.block_specs: the last {levels} nodes must be one for each of the {levels} levels.")
