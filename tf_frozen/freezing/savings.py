"""Computes what freezing saves: parameters, multiply-adds, optimizer, checkpoint and activation memory."""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterable
from typing import Any

import tensorflow as tf

from tf_frozen.freezing.activations import activation_bytes
from tf_frozen.freezing.flops import multiply_adds, step_multiply_adds
from tf_frozen.freezing.layers import reasons
from tf_frozen.freezing.trained_weights import checkpoint_bytes
from tf_frozen.freezing.variable_paths import parts
from tf_frozen.graph_function import GraphFunction
from tf_frozen.keras_flavor import keras

_LANES = 128  # of a TPU's matrix unit
_FLOPS = ("forward_flops", "step_flops", "step_flops_unfrozen")
_TPU_FLOPS = ("tpu_step_flops", "tpu_step_flops_unfrozen")
_ACTIVATIONS = ("activation_bytes", "activation_bytes_unfrozen")
_STORED = ("optimizer_bytes", "optimizer_bytes_unfrozen", "checkpoint_bytes", "checkpoint_bytes_unfrozen")


def savings(
    detector: keras.Model,
    optimizer: keras.optimizers.Optimizer | None = None,
    frame: tuple[int, int] | None = None,
    batch: int = 1,
    count_flops: bool = True,
    checkpoints: str = "trained",
) -> dict[str, Any]:
    """Returns the costs of the detector, and under '…_unfrozen' those if everything trained; some of them by part too.

    Parameters are what an optimizer could train: kernels, biases, norm scales. Moving statistics are not
    part of them and stand under 'statistics', because only so the paper's Table 3 comes out: its R50 row,
    104.9 M of which 71.3 M train, leaves 33.6 M, and ResNet-RS-50 has 33.643 M without its statistics,
    33.696 M with them. forward_flops are the multiply-adds of `batch` images of `frame` (height, width)
    pixels, `detector.frame` if not given, in `detector.detect_once`, or None without `count_flops`: counting
    traces that, which takes seconds. step_flops are those of a training step on them, forward and backward;
    tpu_step_flops, those with all channels padded to the 128 lanes of a TPU's matrix unit, whose share is within
    0.04 of the paper's Figure 1; activation_bytes, what the step keeps for its backward pass (see
    `activation_bytes`). optimizer_bytes are the slots and averages of what trains, and checkpoint_bytes the tensors
    of a checkpoint that holds `checkpoints`, 'trained' or 'everything'; both None without an optimizer.
    """
    frame = tuple(frame or detector.frame)
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)  # what loss scaling wraps
    step = _step_costs(detector, frame, batch) if count_flops else dict.fromkeys((*_FLOPS, *_TPU_FLOPS, *_ACTIVATIONS))
    trained = {id(variable) for variable in detector.trainable_variables}
    return {
        "parameters": _parameters(detector.weights, trained),
        "statistics": _statistics(detector.weights),
        **{kind: sum(step[kind].values()) if count_flops else None for kind in _FLOPS},
        **{kind: step[kind] for kind in (*_TPU_FLOPS, *_ACTIVATIONS)},
        **_stored_bytes(detector, optimizer, checkpoints),
        "optimizer": optimizer.name if optimizer else None,
        "reasons": reasons(detector),
        "frame": list(frame),
        "batch": batch,
        "parts": {
            path: {
                "parameters": _parameters(layer.weights, trained),
                "statistics": _statistics(layer.weights),
                **{kind: step[kind][path] if count_flops else None for kind in _FLOPS},
            }
            for path, layer in parts(detector).items()
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
    """The savings as lines for a terminal: parts first, then what each cost is, and would be if everything trained."""
    parts_table = [("part", "parameters", "trained", "frozen", "trained %", "forward", "step", "step if all trained")]
    parts_table += [_row(path, part) for path, part in savings["parts"].items()]
    parts_table.append(_row("whole detector", savings))
    lines = _lines(parts_table)
    lines += [f"Frozen: {path}, because {reason}." for path, reason in savings["reasons"].items()]
    lines.append(f"Besides: {_short(savings['statistics'])} moving statistics, which no optimizer trains.")
    return "\n".join([*lines, "", *_lines([("", "all trained", "now", "share"), *_costs(savings)]), *_notes(savings)])


def _costs(savings: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    """A row (what, if everything trained, now, share of it in per cent) for each cost that was counted."""
    parameters = savings["parameters"]
    rows = [("trained parameters", parameters["total"], parameters["trainable"], _short)]
    for what, kind, text in (
        ("multiply-adds of a step", "step_flops", _short),
        (f"  in {_LANES} lanes, as on a TPU", "tpu_step_flops", _short),
        ("activations kept for the backward pass", "activation_bytes", _bytes),
        ("optimizer", "optimizer_bytes", _bytes),
        ("checkpoint", "checkpoint_bytes", _bytes),
    ):
        rows.append((what, savings[f"{kind}_unfrozen"], savings[kind], text))
    return [
        (what, text(full), text(now), f"{100 * now / full:.1f} %" if full else "")
        for what, full, now, text in rows
        if full is not None
    ]


def _notes(savings: dict[str, Any]) -> list[str]:
    """Explains what the table of costs counts."""
    notes = []
    if savings["step_flops"] is not None:
        images = "one image" if savings["batch"] == 1 else f"{savings['batch']} images"
        height, width = savings["frame"]
        notes.append(
            f"Multiply-adds (of convolutions and matrix products) and activations are those of a training step on "
            f"{images} of {height} × {width} pixels; in {_LANES} lanes, channels are padded to a multiple of it."
        )
    if savings["optimizer"]:
        notes.append(f"The optimizer is {savings['optimizer']}: its slots and averages.")
    return notes


def _step_costs(detector: keras.Model, frame: tuple[int, int], batch: int) -> dict[str, Any]:
    """Multiply-adds by part, for each of _FLOPS; the sums of _TPU_FLOPS; and the bytes of _ACTIVATIONS."""
    images = tf.TensorSpec([batch, *frame, 3], tf.float32)
    forward, step = _traced(detector.detect_once, images), _traced(detector.training_losses, images, _targets(batch))
    weights = {path: part.weights for path, part in parts(detector).items()}
    everything = [variable for variable in detector.weights if variable.trainable]
    flops = (
        multiply_adds(forward, weights),
        step_multiply_adds(step, weights, detector.trainable_variables),
        step_multiply_adds(step, weights, detector.weights),
    )
    tpu = [
        sum(step_multiply_adds(step, weights, trained, _LANES).values())
        for trained in (detector.trainable_variables, detector.weights)
    ]
    # The last, since it adds the backward pass to the graph.
    activations = activation_bytes(step, detector.trainable_variables, everything)
    return dict(zip((*_FLOPS, *_TPU_FLOPS, *_ACTIVATIONS), (*flops, *tpu, *activations), strict=True))


def _stored_bytes(
    detector: keras.Model, optimizer: keras.optimizers.Optimizer | None, checkpoints: str
) -> dict[str, int | None]:
    """Bytes of the optimizer's slots and of a checkpoint, now and if everything trained."""
    if optimizer is None:
        return dict.fromkeys(_STORED)
    slots = optimizer_bytes(optimizer, detector.trainable_variables)
    all_slots = optimizer_bytes(optimizer, [variable for variable in detector.weights if variable.trainable])
    stored = (checkpoint_bytes(detector, slots)[checkpoints], checkpoint_bytes(detector, all_slots)["everything"])
    return dict(zip(_STORED, (slots, all_slots, *stored), strict=True))


def _traced(function: Callable, *signature: Any) -> tf.types.experimental.ConcreteFunction:
    return GraphFunction(function).get_concrete_function(*signature)


def _targets(batch: int) -> dict[str, tf.TensorSpec]:
    """The targets of a batch; the number of boxes changes no matrix product."""
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


def _lines(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [_aligned(row, widths) for row in rows]


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
