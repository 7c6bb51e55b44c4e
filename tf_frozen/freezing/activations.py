"""Counts the activations that a training step keeps of its forward pass for the backward pass."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import tensorflow as tf

from tf_frozen.freezing.dataflow import handles

# Their output is their input under another shape or name, in the same memory.
_ALIASES = ("Identity", "IdentityN", "Reshape", "Squeeze", "ExpandDims", "StopGradient", "PreventGradient")
# They read the shape alone, so that a tensor they are the last to use is not kept.
_OF_SHAPES = ("Shape", "ShapeN", "Size", "Rank", "ZerosLike", "OnesLike")


def activation_bytes(
    function: tf.types.experimental.ConcreteFunction, *choices: Sequence[tf.Variable]
) -> tuple[int, ...]:
    """Returns the bytes of a traced forward pass that the gradient with respect to each choice of variables needs.

    Counted are tensors that an op of the gradient reads and that are computed from the function's arguments: neither
    weights, nor what is computed of weights alone, as their half-precision copies, nor constants. Each counts once,
    whatever the number of its readers; a reshape counts as its source. Inputs and outputs of a loop, branch or inner
    function count, and so does what it passes to its gradient, except the stacks of a loop. Tensors without a shape in
    the trace are excluded, as the workspace of a fused batch norm on a GPU; so trace with full shapes. This is what the
    graph needs: XLA and TensorFlow's own rewriting may keep less.

    The gradient is of the sum of the function's outputs. Its ops stay in the function's graph, so that what is
    counted in that graph must be counted before.
    """
    graph = function.graph
    before = {op.name for op in graph.get_operations()}
    from_data = _computed_from(graph, _arguments(function))
    sought = [[id(handle) for handle in handles(choice)] for choice in choices]
    gradients = _gradients(function, set().union(*sought))
    wanted = [[gradients[handle] for handle in choice if handle in gradients] for choice in sought]
    return tuple(_bytes(_read_from(before, ops), from_data) for ops in wanted)


def _gradients(function: tf.types.experimental.ConcreteFunction, sought: set[int]) -> dict[int, tf.Operation]:
    """The op that the gradient by each variable comes out of, by the id of the variable's handle."""
    captured = {id(outer): inner for outer, inner in function.graph.captures if id(outer) in sought}
    outputs = [output for output in function.graph.outputs if output.dtype.is_floating]
    with function.graph.as_default():
        found = tf.gradients(outputs, list(captured.values())) if captured else []
    tensors = [gradient.values if isinstance(gradient, tf.IndexedSlices) else gradient for gradient in found]
    return {handle: g.op for handle, g in zip(captured, tensors, strict=True) if g is not None}


def _read_from(before: set[str], wanted: Iterable[tf.Operation]) -> dict[str, tf.Tensor]:
    """The tensors of the ops named in `before` that the other ops which `wanted` need read, reshapes resolved."""
    waiting, seen, kept = [op for op in wanted if op.name not in before], set(), {}
    while waiting:
        op = waiting.pop()
        if op.name in seen:
            continue
        seen.add(op.name)
        for tensor in op.inputs:
            if tensor.op.name not in before:
                waiting.append(tensor.op)
            elif op.type not in _OF_SHAPES:
                tensor = _shown(tensor)
                kept[tensor.name] = tensor
    return kept


def _shown(tensor: tf.Tensor) -> tf.Tensor:
    """The tensor whose memory a reshape shares."""
    while tensor.op.type in _ALIASES:
        tensor = tensor.op.inputs[tensor.value_index if tensor.op.type == "IdentityN" else 0]
    return tensor


def _bytes(tensors: dict[str, tf.Tensor], from_data: set[str]) -> int:
    counted = [tensor for tensor in tensors.values() if tensor.op.name in from_data]
    known = [tensor for tensor in counted if tensor.shape.is_fully_defined() and tensor.dtype.size]
    return sum(math.prod(tensor.shape) * tensor.dtype.size for tensor in known)


def _arguments(function: tf.types.experimental.ConcreteFunction) -> set[str]:
    """Names of the ops that hand the function's arguments in."""
    captured = {inner.name for _, inner in function.graph.captures}
    return {tensor.op.name for tensor in function.graph.inputs if tensor.name not in captured}


def _computed_from(graph: tf.Graph, names: set[str]) -> set[str]:
    """Names of the ops computed from those named, themselves included; an op comes after what it reads."""
    found = set(names)
    for op in graph.get_operations():
        if any(tensor.op.name in found for tensor in op.inputs):
            found.add(op.name)
    return found
