"""Converts a detector's output on frames to pixels of the original images and the category ids of the data set."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence

import tensorflow as tf

from tf_frozen.data.category import Category
from tf_frozen.data.example import Example
from tf_frozen.data.resize import fit
from tf_frozen.export.signature import Detections
from tf_frozen.geometry import boxes as box_ops
from tf_frozen.graph_function import GraphFunction
from tf_frozen.keras_flavor import keras


class ImageDetector:
    """Detects on images of any size with a detector of frames; gives boxes in image pixels and category ids.

    `evaluate`, `predict` and exports all use it. Class k is `categories[k - 1]`. An image is fitted into the detector's
    frame, or, where the detector has `tiles`, cut into tiles. `augment` False turns test-time augmentation off. With
    `as_graph`, all graphs that detect with it share one graph of the detector.
    """

    def __init__(
        self, detector: keras.Model, categories: Sequence[Category], augment: bool = True, as_graph: bool = False
    ):
        self._detector = detector
        detect = functools.partial(detector if augment else detector.detect_once, training=False)
        self._detect = GraphFunction(detect) if as_graph else detect
        self._category_ids = [0, *(category.id for category in categories)]

    def detect(
        self, frames: tf.Tensor, image_size: tf.Tensor, scale: tf.Tensor, original_size: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """Detects on images that `fit` placed in frames [N, H, W, 3], or with tiles on whole images of one size.

        `image_size` [N, 2] and `scale` [N] are what `fit` gave, `original_size` [N, 2] is (height, width). Returns
        boxes [N, D, 4], scores [N, D], classes [N, D] int32, count [N] int32, and masks [N, D, h, w] where the detector
        finds them; rows from count on are zeros.
        """
        if self._detector.tiles is not None:
            return self.detect_each(frames)
        found = self._detect(frames, image_size=image_size)
        boxes = found["boxes"] / scale[:, tf.newaxis, tf.newaxis]
        return self._of_image({**found, "boxes": boxes}, original_size)

    def _of_image(self, found: Mapping[str, tf.Tensor], size: tf.Tensor) -> dict[str, tf.Tensor]:
        ids = tf.constant(self._category_ids, tf.int32)
        return {**found, "boxes": box_ops.clip(found["boxes"], size), "classes": tf.gather(ids, found["classes"])}

    def detect_each(self, inputs: tf.Tensor, read: Callable[[tf.Tensor], tf.Tensor] = tf.identity) -> dict:
        """Detects on the image, uint8 RGB [h, w, 3], that `read` returns for each of the inputs [N, ...]."""
        if self._detector.tiles is not None:
            return self._detect_on_tiles(inputs, read)
        frame = self._detector.frame
        signature = tuple(tf.TensorSpec(shape, tf.float32) for shape in ((*frame, 3), (2,), (), (2,)))

        def prepare(each: tf.Tensor) -> tuple[tf.Tensor, ...]:
            image = read(each)
            return *fit(image, frame), tf.cast(tf.shape(image)[:2], tf.float32)

        prepared = tf.map_fn(prepare, inputs, fn_output_signature=signature)
        # Convolutions refuse a batch of no image: it gets one of zeros, whose row is cut off again.
        count = tf.shape(prepared[0])[0]
        one_more = tf.cast(count == 0, tf.int32)
        padded = [tf.pad(x, [[0, one_more], *[[0, 0]] * (x.shape.rank - 1)]) for x in prepared]
        return {name: rows[:count] for name, rows in self.detect(*padded).items()}

    def _detect_on_tiles(self, inputs: tf.Tensor, read: Callable[[tf.Tensor], tf.Tensor]) -> dict[str, tf.Tensor]:
        """`detect_each` of a detector with tiles: one image after another; D is the most that is found on any."""
        detector = self._detector

        def detect_frame(frames: tf.Tensor, image_size: tf.Tensor) -> dict[str, tf.Tensor]:
            return self._detect(frames, image_size=image_size)

        def detect_one(each: tf.Tensor) -> dict[str, tf.Tensor]:
            image = read(each)
            found = detector.tiles.detect(detect_frame, image, detector.frame, detector.finds_masks)
            return self._of_image(found, tf.cast(tf.shape(image)[:2], tf.float32))

        specs = detector.tiles.specs(detector.finds_masks)
        found = tf.map_fn(detect_one, inputs, fn_output_signature=specs, parallel_iterations=1)
        count = tf.cast(found["scores"].row_lengths(), tf.int32)
        return {**{name: rows.to_tensor() for name, rows in found.items()}, "count": count}


def detect_all(detect: Callable[..., dict], batches: Iterable, examples: Sequence[Example]) -> list[dict]:
    """Runs `ImageDetector.detect` over evaluation batches; gives COCO-results rows in original pixels.

    Where it finds masks, rows have their RLE: one image's are full-sized at a time.
    """
    rows = []
    for images, targets in batches:
        placed = (targets[name] for name in ("image_size", "scale", "original_size"))
        found = {name: value.numpy() for name, value in detect(images, *placed).items()}
        for place, index in enumerate(targets["image_index"].numpy()):
            example = examples[index]
            rows += Detections.of(found, place, (example.height, example.width)).rows(example.image_id)
    return rows
