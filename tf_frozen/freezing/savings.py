"""What freezing saves: parameters, multiply-adds and optimizer memory of a detector, by part."""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterable
from typing import Any

import tensorflow as tf

from tf_frozen.freezing.flops import multiply_adds, step_multiply_adds
from tf_frozen.freezing.layers import reasons
from tf_frozen.freezing.variable_paths import parts
from tf_frozen.keras_flavor import keras

_FLOPS = ("forward_flops", "step_flops", "step_flops_unfrozen")


def savings(
    detector: keras.Model,
    optimizer: keras.optimizers.Optimizer | None = None,
    frame: tuple[int, int] | None = None,
    batch: int = 1,
    count_flops: bool = True,
) -> dict[str, Any]:
    """Parameters {total, trainable, frozen, trainable_percent}, FLOPs and optimizer_bytes; by part too.

    Parameters are what an optimizer could train: kernels, biases, norm scales. Moving statistics are no
    part of them and stand under 'statistics', because only so the paper's Table 3 comes out: its R50 row,
    104.9 M of which 71.3 M train, leaves 33.6 M, and ResNet-RS-50 has 33.643 M without its statistics,
    33.696 M with them. forward_flops are the multiply-adds of `batch` images of `frame` (height, width)
    pixels, `detector.frame` if not given, in `detector.detect_once`, or None without `count_flops`: counting
    traces that, which takes seconds. step_flops are those of a training step on them, forward and backward;
    step_flops_unfrozen, if everything trained. optimizer_bytes are the slots and averages of what trains;
    optimizer_bytes_unfrozen, if everything did.
    """
    frame = tuple(frame or detector.frame)
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)  # what loss scaling wraps
    flops = _flops(detector, frame, batch) if count_flops else {}
    trained = {id(variable) for variable in detector.trainable_variables}
    layers = parts(detector)
    everything = [variable for variable in detector.weights if variable.trainable]
    return {
        "parameters": _parameters(detector.weights, trained),
        "statistics": _statistics(detector.weights),
        **{kind: sum(flops[kind].values()) if count_flops else None for kind in _FLOPS},
        "optimizer_bytes": optimizer_bytes(optimizer, detector.trainable_variables) if optimizer else None,
        "optimizer_bytes_unfrozen": optimizer_bytes(optimizer, everything) if optimizer else None,
        "optimizer": optimizer.name if optimizer else None,
        "reasons": reasons(detector),
        "frame": list(frame),
        "batch": batch,
        "parts": {
            path: {
                "parameters": _parameters(layer.weights, trained),
                "statistics": _statistics(layer.weights),
                **{kind: flops[kind][path] if count_flops else None for kind in _FLOPS},
            }
            for path, layer in layers.items()
        },
    }


def optimizer_bytes(optimizer: keras.optimizers.Optimizer, variables: Iterable[tf.Variable]) -> int:
    """Bytes of the slots and moving averages that an optimizer like this one keeps for `variables`."""
    alike = collections.Counter((tuple(v.shape), v.dtype.base_dtype) for v in variables)
    config = optimizer.get_config() | {"learning_rate": 0.0}
    # In a graph that never runs no memory is taken; one variable of a kind, as each takes milliseconds to make.
    with tf.Graph().as_default():
        twin = type(optimizer).from_config(config)
        stateless = {id(variable) for variable in twin.variables}
        kinds = {f"kind_{index}": kind for index, kind in enumerate(alike)}
        twin.build([tf.Variable(tf.zeros(*kind), name=name) for name, kind in kinds.items()])
        slots = [variable for variable in twin.variables if id(variable) not in stateless]
    # A slot is named after its variable, as in 'm/kind_0:0'.
    times = [alike[kinds[slot.name.partition("/")[2].partition(":")[0]]] for slot in slots]
    return sum(n * slot.shape.num_elements() * slot.dtype.size for n, slot in zip(times, slots, strict=True))


def table(savings: dict[str, Any]) -> str:
    """The savings as lines for a terminal, parts first, then the whole, then the optimizer."""
    rows = [("part", "parameters", "trained", "frozen", "trained %", "forward", "step", "step if all trained")]
    rows += [_row(path, part) for path, part in savings["parts"].items()]
    rows.append(_row("whole detector", savings))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [_aligned(row, widths) for row in rows]
    height, width = savings["frame"]
    lines += [f"Frozen: {path}, because {reason}." for path, reason in savings["reasons"].items()]
    lines.append(f"Besides: {_short(savings['statistics'])} moving statistics, which no optimizer trains.")
    if savings["forward_flops"] is not None:
        images = "one image" if savings["batch"] == 1 else f"{savings['batch']} images"
        lines.append(
            f"Multiply-adds of a forward pass and a training step, {images} of {height} × {width} pixels: a step "
            f"costs {savings['step_flops'] / savings['step_flops_unfrozen']:.2f} of one that trains everything."
        )
    if savings["optimizer"]:
        kept, full = savings["optimizer_bytes"], savings["optimizer_bytes_unfrozen"]
        lines.append(f"Optimizer {savings['optimizer']}: {_bytes(kept)} of slots; {_bytes(full)} if all trained.")
    return "\n".join(lines)


def _flops(detector: keras.Model, frame: tuple[int, int], batch: int) -> dict[str, dict[str, int]]:
    """Multiply-adds by part, for each of _FLOPS."""
    images = tf.TensorSpec([batch, *frame, 3], tf.float32)
    forward, step = _traced(detector.detect_once, images), _traced(detector.training_losses, images, _targets(batch))
    weights = {path: part.weights for path, part in parts(detector).items()}
    counted = (
        multiply_adds(forward, weights),
        step_multiply_adds(step, weights, detector.trainable_variables),
        step_multiply_adds(step, weights, detector.weights),
    )
    return dict(zip(_FLOPS, counted, strict=True))


def _traced(function: Callable, *signature: Any) -> tf.types.experimental.ConcreteFunction:
    try:
        # Autograph makes tracing three times as long; what spells out its control flow does not need it.
        return tf.function(function, autograph=False).get_concrete_function(*signature)
    except tf.errors.OperatorNotAllowedInGraphError:
        return tf.function(function).get_concrete_function(*signature)


def _targets(batch: int) -> dict[str, tf.TensorSpec]:
    """What a batch has to learn; how many boxes that are changes no product."""
    shapes = {
        "boxes": ([1, 4], tf.float32),
        "classes": ([1], tf.int32),
        "masks": ([1, 112, 112], tf.uint8),  # not every detector learns them
        "image_size": ([2], tf.float32),
    }
    return {name: tf.TensorSpec([batch, *shape], dtype) for name, (shape, dtype) in shapes.items()}


def _parameters(weights: list[tf.Variable], trained: set[int]) -> dict[str, float]:
    parameters = [weight for weight in weights if weight.trainable]
    total, trainable = _count(parameters), _count(weight for weight in parameters if id(weight) in trained)
    return {
        "total": total,
        "trainable": trainable,
        "frozen": total - trainable,
        "trainable_percent": round(100 * trainable / total, 2) if total else 0.0,
    }


def _statistics(weights: list[tf.Variable]) -> int:
    return _count(weight for weight in weights if not weight.trainable)


def _count(weights: Iterable[tf.Variable]) -> int:
    return sum(weight.shape.num_elements() for weight in weights)


def _row(name: str, part: dict[str, Any]) -> tuple[str, ...]:
    parameters = part["parameters"]
    counts = (_short(parameters[key]) for key in ("total", "trainable", "frozen"))
    percent = f"{parameters['trainable_percent']:.1f}"
    return name, *counts, percent, *("" if part[kind] is None else _short(part[kind]) for kind in _FLOPS)


def _aligned(row: tuple[str, ...], widths: list[int]) -> str:
    numbers = (value.rjust(width) for value, width in zip(row[1:], widths[1:], strict=True))
    return "  ".join([row[0].ljust(widths[0]), *numbers]).rstrip()


def _short(count: float) -> str:
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}" if count < 100 * size else f"{count / size:.0f} {unit}"
    return f"{count:.0f}"


def _bytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB"
