"""Detection on overlapping tiles of an image at a fixed magnification, merged at the seams."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import gin
import tensorflow as tf

from tf_frozen.config.ranges import Fraction, NonNegativeFloat, PositiveFloat, Range
from tf_frozen.errors import ConfigError
from tf_frozen.geometry.nms import batched_nms
from tf_frozen.geometry.resample import window
from tf_frozen.keras_flavor import keras
from tf_frozen.layers.configured import ConfiguredLayer

Detections = dict[str, tf.Tensor]
Detect = Callable[[tf.Tensor, tf.Tensor], Detections]
_SPECS = {
    "boxes": tf.RaggedTensorSpec([None, 4], tf.float32, ragged_rank=0),
    "scores": tf.RaggedTensorSpec([None], tf.float32, ragged_rank=0),
    "classes": tf.RaggedTensorSpec([None], tf.int32, ragged_rank=0),
}
_MASKS = {"masks": tf.RaggedTensorSpec([None, None, None], tf.float32, ragged_rank=0)}


@gin.configurable
@keras.utils.register_keras_serializable("tf_frozen")
class Tiles(ConfiguredLayer):
    """Cuts an image, scaled by `magnification`, into tiles of the detector's frame, and merges what is found on them.

    Neighbouring tiles share at least `overlap` of the frame's side, evenly spaced. A detection that comes nearer than
    `margin` frame pixels to an edge where the image continues is dropped if the neighbour on that side has it farther
    inside. So every object whose sides are at most the overlap less the margin is found whole; a larger one may be
    found in parts. Two tiles' detections of one object are merged by NMS within the class, at `nms_iou`. The head's
    limit on detections holds for a tile, not for the image.

    Tiles go through the detector one after another. Memory holds the image (uint8), one tile's features, and what was
    found so far. Raises ConfigError for an impossible argument.
    """

    def __init__(
        self,
        magnification: PositiveFloat = 1.0,
        overlap: Annotated[float, Range(0, 0.5, above=True)] = 0.25,
        margin: NonNegativeFloat = 4.0,
        nms_iou: Fraction = 0.5,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.magnification, self.overlap, self.margin, self.nms_iou = magnification, overlap, margin, nms_iou

    def detect(self, detect: Detect, image: tf.Tensor, frame: tuple[int, int], masks: bool = False) -> Detections:
        """Runs `detect(frames [1, H, W, 3], image_size [1, 2])` on the tiles of an image [h, w, 3] of any size.

        Gives boxes [n, 4] in pixels of the image, scores [n] and classes [n] of n objects, best first; with `masks`
        those that `detect` gives [n, ...] too. Raises ConfigError where the overlap is less than the margin.
        """
        scaled = tf.cast(tf.shape(image)[:2], tf.float32) * self.magnification
        rows, columns = (self._spans(scaled[axis], frame[axis]) for axis in (0, 1))
        y, x = tf.meshgrid(tf.range(tf.shape(rows)[0]), tf.range(tf.shape(columns)[0]), indexing="ij")
        spans = tf.stack([tf.gather(rows, tf.reshape(y, [-1])), tf.gather(columns, tf.reshape(x, [-1]))], axis=1)
        specs = self.specs(masks)

        def detect_one(span: tf.Tensor) -> Detections:
            found = self._detect_on_tile(detect, image, scaled, frame, span)
            return {name: found[name] for name in specs}

        found = tf.map_fn(detect_one, spans, fn_output_signature=specs, parallel_iterations=1)
        return self._merged({name: each.values for name, each in found.items()})

    def whole(self, frame: tuple[int, int]) -> tuple[float, float]:
        """Height and width, in pixels of an image, up to which every object is found whole on tiles of that frame."""
        return tuple((round(self.overlap * side) - self.margin) / self.magnification for side in frame)

    @staticmethod
    def specs(masks: bool) -> dict[str, tf.RaggedTensorSpec]:
        """The types of what `detect` gives."""
        return {**_SPECS, **(_MASKS if masks else {})}

    def _spans(self, length: tf.Tensor, side: int) -> tf.Tensor:
        """The starts of each tile, its predecessor and its successor on an axis of `length` scaled pixels: [n, 3]."""
        overlap = round(self.overlap * side)
        if overlap < self.margin:
            raise ConfigError(
                f"Tiles.overlap is {self.overlap!r}, {overlap} of the frame's {side} pixels, which is less than the "
                f"margin of {self.margin!r}. Make the overlap no less than the largest objects."
            )
        last = tf.math.ceil(tf.maximum(length - side, 0.0))
        count = tf.cast(tf.math.ceil(last / (side - overlap)), tf.int32) + 1
        # Whole pixels, so that at magnification 1 nothing is resampled.
        starts = tf.round(tf.linspace(0.0, last, count))
        before = tf.concat([[float("-inf")], starts[:-1]], 0)
        return tf.stack([before, starts, tf.concat([starts[1:], [float("inf")]], 0)], axis=1)

    def _detect_on_tile(
        self, detect: Detect, image: tf.Tensor, scaled: tf.Tensor, frame: tuple[int, int], span: tf.Tensor
    ) -> Detections:
        """The detections of a tile, given by its `_spans` of both axes [2, 3], that no neighbour has farther inside."""
        start, scale = span[:, 1], tf.constant(self.magnification, tf.float32)
        visible = tf.minimum(scaled - start, tf.constant(frame, tf.float32))
        found = dict(detect(window(image, frame, scale, start)[tf.newaxis], visible[tf.newaxis]))
        count = found.pop("count")[0]
        found = {name: rows[0, :count] for name, rows in found.items()}
        kept = ~self._left_to_neighbours(found["boxes"], frame, span)
        found["boxes"] = (found["boxes"] + tf.tile(start, [2])) / scale
        return {name: tf.boolean_mask(rows, kept) for name, rows in found.items()}

    def _left_to_neighbours(self, boxes: tf.Tensor, frame: tuple[int, int], span: tf.Tensor) -> tf.Tensor:
        """Whether a neighbour has each box [n, 4] of a tile, in pixels of the tile, farther inside: bool [n].

        Two tiles never leave the same box to one another: what one drops is `margin` or more inside the other.
        """
        before, start, after = tf.unstack(span, axis=1)
        side = tf.constant(frame, tf.float32)
        near, far = boxes[:, :2], boxes[:, 2:]
        to_next = (far > side - self.margin) & (near + start >= after + self.margin)
        to_previous = (near < self.margin) & (far + start <= before + side - self.margin)
        return tf.reduce_any(to_next | to_previous, axis=1)

    def _merged(self, found: Detections) -> Detections:
        """The best of each group of boxes of a class that overlap."""
        # NMS takes no empty set, and never chooses a box without area.
        padded = {name: tf.pad(found[name], [[0, 1], *[[0, 0]] * (found[name].shape.rank - 1)]) for name in found}
        most = tf.shape(padded["scores"])[0]
        boxes, scores, classes = (padded[name][tf.newaxis] for name in ("boxes", "scores", "classes"))
        kept, valid = batched_nms(boxes, scores, classes, self.nms_iou, most)
        kept = tf.boolean_mask(kept[0], valid[0])
        return {name: tf.gather(rows, kept) for name, rows in padded.items()}
