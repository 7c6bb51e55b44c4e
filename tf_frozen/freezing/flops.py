"""Counts multiply-adds of a traced forward pass and of its training step, by part of the model."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping

import tensorflow as tf

from tf_frozen.freezing.dataflow import DATA, Sources, sourced_ops

Groups = Mapping[str, Iterable[tf.Variable]]


def multiply_adds(function: tf.types.experimental.ConcreteFunction, groups: Groups) -> dict[str, int]:
    """Multiply-adds of a forward pass by group of variables; products with no group's weight are 'other'.

    Counts convolutions (depthwise and transposed too), matrix products and einsums; elementwise work, pooling
    and normalization are not counted, and a loop's body counts once. Raises ValueError for a product whose shape
    the trace does not know, so trace with full shapes.
    """
    return _totals(function, {group: {group: variables} for group, variables in groups.items()}, lambda factor: False)


def step_multiply_adds(
    function: tf.types.experimental.ConcreteFunction, groups: Groups, trained: Iterable[tf.Variable], lanes: int = 1
) -> dict[str, int]:
    """Multiply-adds of a forward pass and its backward pass by group of variables, when `trained` ones train.

    The gradient of a product by one of its factors costs what the product did, and is computed where that factor
    comes from a variable that trains: a convolution that trains costs three times its forward pass, two times
    where nothing before it trains, and a frozen one at the input once. Counted as by `multiply_adds`.

    With `lanes` 128 these are what the matrix units of a TPU, 128 × 128, compute: the channels that go into and come
    out of a convolution or matrix product are padded to a multiple of it. Einsums count as they are.
    """
    ids = {id(variable) for variable in trained}
    split: dict[str, dict[str, list[tf.Variable]]] = {}
    for group, variables in groups.items():
        split[group] = {f"{group} trained": [], f"{group} frozen": []}
        for variable in variables:
            split[group][f"{group} {'trained' if id(variable) in ids else 'frozen'}"].append(variable)
    return _totals(function, split, lambda factor: any(source.endswith(" trained") for source in factor), lanes)


def _totals(
    function: tf.types.experimental.ConcreteFunction,
    groups: Mapping[str, Groups],
    has_gradient: Callable[[Sources], bool],
    lanes: int = 1,
) -> dict[str, int]:
    """Products by group, each counted once, and once more for every factor that needs a gradient."""
    totals = dict.fromkeys([*groups, "other"], 0)
    group_of = {source: group for group, sources in groups.items() for source in sources}
    every = {source: variables for sources in groups.values() for source, variables in sources.items()}
    for op, sources in sourced_ops(function, every):
        if op.type in _COUNTS:
            totals[_owner(sources, group_of)] += _count(op, lanes) * (1 + sum(map(has_gradient, sources)))
    return totals


def _owner(sources: Iterable[Sources], group_of: Mapping[str, str]) -> str:
    """The group whose weight a product uses: a weight is computed from one group's variables and from no image."""
    for factor in sources:
        groups = {group_of.get(source, "other") for source in factor}
        if len(groups) == 1 and DATA not in factor:
            return groups.pop()
    return "other"


def _count(op: tf.Operation, lanes: int) -> int:
    count = _COUNTS[op.type](op, lanes)
    if count is None:
        raise ValueError(f"{op.name} ({op.type}): a shape is unknown when traced, so its products can't be counted.")
    return count


def _convolution(op: tf.Operation, lanes: int) -> int | None:
    """Each output value sums over height, width and input channels (of its group) of the kernel."""
    return _product(_filled(op.outputs[0].shape, lanes), _filled(op.inputs[1].shape[:3], lanes))


def _depthwise(op: tf.Operation, lanes: int) -> int | None:
    return _product(_filled(op.outputs[0].shape, lanes), op.inputs[1].shape[:2])


def _transposed_convolution(op: tf.Operation, lanes: int) -> int | None:
    """A convolution's gradient, whose inputs are the sizes of what it gives, the kernel, and the map."""
    return _product(_filled(op.inputs[2].shape, lanes), _filled(op.inputs[1].shape[:3], lanes))


def _matrix_product(op: tf.Operation, lanes: int) -> int | None:
    transposed = op.get_attr("transpose_a" if op.type == "MatMul" else "adj_x")
    summed = op.inputs[0].shape[-2 if transposed else -1]
    return _product(_filled(op.outputs[0].shape, lanes), _filled([summed], lanes))


def _filled(shape: Iterable[int | None], lanes: int) -> list[int | None]:
    """The sizes, the last of them padded to a multiple of `lanes`."""
    *outer, channels = shape
    return [*outer, channels and -(-channels // lanes) * lanes]


def _einsum(op: tf.Operation, lanes: int) -> int | None:
    """Every combination of the labels' values is one product; labels under an ellipsis are the output's."""
    equation = op.get_attr("equation").decode()
    inputs, output = equation.split("->")
    sizes: dict[str, int | None] = {}
    for term, tensor in zip([*inputs.split(","), output], [*op.inputs, op.outputs[0]], strict=True):
        sizes.update(_label_sizes(term, tensor.shape))
    return _product(list(sizes.values()))


def _label_sizes(term: str, shape: tf.TensorShape) -> dict[str, int | None]:
    before, ellipsis, after = term.partition("...")
    hidden = shape.rank - len(before) - len(after)
    labels = [*before, *(f"...{hidden - index}" for index in range(hidden if ellipsis else 0)), *after]
    # Broadcasting may make a hidden dimension 1 in an input; the output comes last and has the true size.
    return dict(zip(labels, shape.as_list(), strict=True))


def _product(*shapes: Iterable[int | None]) -> int | None:
    sizes = [size for shape in shapes for size in shape]
    return None if any(size is None for size in sizes) else math.prod(sizes)


_COUNTS = {
    "Conv2D": _convolution,
    "Conv2DBackpropInput": _transposed_convolution,
    "DepthwiseConv2dNative": _depthwise,
    "MatMul": _matrix_product,
    "BatchMatMul": _matrix_product,
    "BatchMatMulV2": _matrix_product,
    "BatchMatMulV3": _matrix_product,
    "Einsum": _einsum,
}
