"""Finds what a traced train step does with frozen variables: gradients, terms of the loss, writes, norm modes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import tensorflow as tf

from tf_frozen.freezing.dataflow import DATA, Sources, sourced_ops, union
from tf_frozen.graph_function import GraphFunction
from tf_frozen.keras_flavor import keras

TRAINED = "what trains"
_ADDITIONS = ("AddN", "AddV2", "Add", "Sub")
_WRITES = ("Assign", "ResourceApply", "ResourceScatter", "ResourceSparseApply", "ResourceStridedSliceAssign")
_MASK_SIDE = 112
_STATISTIC, _OF_ONE = "a statistic of the batch", "one element of a loop over the batch"
_REDUCTIONS = ("Mean", "Sum", "Max", "Min")
_Use = tuple[tf.Operation, set[str], Sequence[Sources]]


class TracedStep:
    """Finds the ops of a traced train step that use `frozen` variables (by path), and those that `trained` ones feed.

    A value that is computed from frozen variables alone is a weight; what it meets in an op is the layer's input on
    the way forward, and the gradient from later layers on the way back. Names of ops play no part.
    """

    def __init__(
        self,
        function: tf.types.experimental.ConcreteFunction,
        frozen: Mapping[str, tf.Variable],
        trained: Iterable[tf.Variable],
    ):
        self._frozen = frozenset(frozen)
        groups = {**{path: [v] for path, v in frozen.items()}, TRAINED: trained}
        self._ops = sourced_ops(function, groups, self._derive)

    def backward_ops(self) -> list[set[str]]:
        """The ops that carry a gradient through frozen variables which no trained one feeds: of each, those variables.

        A frozen variable behind one that trains, as in a frozen neck on a trained backbone, has to pass gradients. It
        is known by its first use: forward comes first, and there what trains is already in the layer's input.
        """
        fed: dict[str, bool] = {}
        found = []
        for op, weights, others in self._uses():
            if op.type not in _ADDITIONS:
                meets_trained = any(TRAINED in sources for sources in others)
                unfed = {path for path in weights if not fed.setdefault(path, meets_trained)}
                found += [unfed] if meets_trained and unfed else []
        return found

    def loss_terms(self) -> list[set[str]]:
        """The additions of a number made of frozen variables alone to what trains, as L2 terms are: those variables."""
        uses = self._uses(scalars=True)
        return [w for op, w, others in uses if op.type in _ADDITIONS and any(TRAINED in s for s in others)]

    def writes(self) -> list[str]:
        """Paths of the frozen variables that an op of the step writes to."""
        found = []
        for op, sources in self._ops:
            if op.type.startswith(_WRITES):
                found += [path for path in sources[0] if path in self._frozen]
        return list(dict.fromkeys(found))

    def batch_statistics(self) -> list[str]:
        """Paths of the frozen scales of batch norms that normalize with the statistics of the batch.

        Besides Keras's norms those written by hand: the first frozen variables that meet a value reduced over all axes
        but one, the first among them, of a tensor that no trained variable feeds.
        """
        found = [path for op, weights, others in self._uses() if _unmet(others) for path in weights]
        for op, sources in self._ops:
            if op.type.startswith("FusedBatchNorm") and "Grad" not in op.type and op.get_attr("is_training"):
                found += [path for inputs in sources[1:3] for path in inputs if self._of_frozen_norm(path)]
            if op.type == "Mul":  # unfused, as synchronised norms are: rsqrt(variance) times the scale
                for this, other in ((0, 1), (1, 0)):
                    if op.inputs[this].op.type == "Rsqrt" and DATA in sources[this] and sources[other] <= self._frozen:
                        found += [path for path in sources[other] if self._of_frozen_norm(path)]
        return list(dict.fromkeys(found))

    def _of_frozen_norm(self, path: str) -> bool:
        """Whether a frozen variable stands beside frozen moving statistics; layer norms have none."""
        return path in self._frozen and f"{path.rpartition('/')[0]}/moving_variance" in self._frozen

    def _uses(self, scalars: bool = False) -> Iterator[_Use]:
        """Ops where a value made of frozen variables alone meets others: those variables, and the others' sources."""
        for op, sources in self._ops:
            weights, others = self._meeting(op, sources, scalars)
            if weights and others:
                yield op, weights, others

    def _meeting(
        self, op: tf.Operation, sources: Sequence[Sources], scalars: bool = False
    ) -> tuple[set[str], list[Sources]]:
        # A handle is not a value: to write a variable is not to use it.
        values = [(s, t) for s, t in zip(sources, op.inputs, strict=True) if t.dtype != tf.resource]
        alone = [(s, t) for s, t in values if s and s <= self._frozen]
        weights = {path for s, t in alone for path in s if not scalars or t.shape.rank == 0}
        return weights, [s for s, _ in values if not s <= self._frozen]

    def _derive(self, op: tf.Operation, sources: list[Sources]) -> Sources:
        """Marks statistics of the batch until they meet a frozen variable, so that no later one is named for them."""
        found = union(op, sources)
        if op.type.startswith("TensorListGetItem"):
            return found | {_OF_ONE}
        if op.type.startswith("TensorListStack"):
            return found - {_OF_ONE}
        if _STATISTIC in found and self._meeting(op, sources)[0]:
            return found - {_STATISTIC}
        if DATA in found and found.isdisjoint((TRAINED, _OF_ONE)) and _is_over_batch(op):
            return found | {_STATISTIC}
        return found


def _unmet(others: Iterable[Sources]) -> bool:
    return any(_STATISTIC in sources and TRAINED not in sources for sources in others)


def _is_over_batch(op: tf.Operation) -> bool:
    """Whether an op reduces a floating-point tensor [batch, …, channels] to one value for each channel."""
    if op.type not in _REDUCTIONS or not op.inputs[0].dtype.is_floating or not op.inputs[0].shape.rank:
        return False
    rank, axes = op.inputs[0].shape.rank, tf.get_static_value(op.inputs[1])
    axes = set() if axes is None else {int(axis) % rank for axis in axes.reshape(-1)}
    return 0 in axes and len(axes) == rank - 1


def trace(detector: keras.Model, batch: int, frame: tuple[int, int]) -> tf.types.experimental.ConcreteFunction:
    """The detector's train step as a graph, for `batch` images of `frame` (height, width) pixels, run nowhere.

    Its optimizer must be built for what trains.
    """
    targets = {
        "boxes": tf.TensorSpec([batch, 1, 4], tf.float32),
        "classes": tf.TensorSpec([batch, 1], tf.int32),
        "image_index": tf.TensorSpec([batch], tf.int64),
        "image_size": tf.TensorSpec([batch, 2], tf.float32),
        "scale": tf.TensorSpec([batch], tf.float32),
    }
    if detector.finds_masks:
        targets["masks"] = tf.TensorSpec([batch, 1, _MASK_SIDE, _MASK_SIDE], tf.uint8)

    def step(images: tf.Tensor, targets: Mapping[str, tf.Tensor]) -> Mapping[str, tf.Tensor]:
        return detector.distribute_strategy.run(detector.train_step, args=((images, targets),))

    return GraphFunction(step).get_concrete_function(tf.TensorSpec([batch, *frame, 3], tf.float32), targets)
