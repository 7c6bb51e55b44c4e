"""What a traced train step does with frozen variables: gradients, sums into the loss, writes, norm modes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import tensorflow as tf

from tf_frozen.freezing.dataflow import DATA, Sources, sourced_ops
from tf_frozen.keras_flavor import keras

TRAINED = "what trains"
_ADDITIONS = ("AddN", "AddV2", "Add", "Sub")
_WRITES = ("Assign", "ResourceApply", "ResourceScatter", "ResourceSparseApply", "ResourceStridedSliceAssign")
_MASK_SIDE = 112
_Use = tuple[tf.Operation, set[str], Sequence[Sources]]


class TracedStep:
    """The ops of a traced train step that use `frozen` variables (by path), beside those that `trained` ones feed.

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
        self._ops = sourced_ops(function, {**{path: [v] for path, v in frozen.items()}, TRAINED: trained})

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
        """Paths of the frozen scales of batch norms that normalise with the statistics of the batch."""
        found = []
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
            # A handle is not a value: to write a variable is not to use it.
            values = [(s, t) for s, t in zip(sources, op.inputs, strict=True) if t.dtype != tf.resource]
            alone = [(s, t) for s, t in values if s and s <= self._frozen]
            weights = {path for s, t in alone for path in s if not scalars or t.shape.rank == 0}
            others = [s for s, _ in values if not s <= self._frozen]
            if weights and others:
                yield op, weights, others


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

    return tf.function(step).get_concrete_function(tf.TensorSpec([batch, *frame, 3], tf.float32), targets)
