"""The serving module: a detector with the interface of its SavedModel, in memory or exported."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from tf_frozen.data.category import Category
from tf_frozen.data.exif import orientation
from tf_frozen.data.images import decode_named
from tf_frozen.export.image_detector import ImageDetector
from tf_frozen.export.signature import to_outputs
from tf_frozen.graph_function import GraphFunction
from tf_frozen.keras_flavor import keras


class ServingModule:
    """Serves a detector: takes images of any size, returns boxes in their pixels and category ids.

    Both methods return `detection_boxes` float32 [N, D, 4] as y1, x1, y2, x2 in pixels of the original image
    and within it, `detection_scores` float32 [N, D], `detection_classes` int32 [N, D] (the data set's own
    category ids) and `num_detections` int32 [N]; rows from `num_detections` on are zeros. A detector of masks gives
    `detection_masks` float32 [N, D, h, w] too: the probability of the object at the centers of h × w equal cells of the
    detection's box.
    """

    def __init__(self, detector: keras.Model, categories: Sequence[Category]):
        self._detector = ImageDetector(detector, categories, as_graph=True)

    def detect(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns the detections on `images`, uint8 RGB [N, H, W, 3]."""
        return to_outputs(self._detector.detect_each(images))

    def detect_bytes(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns the detections on `image_bytes`, strings [N], each a JPEG, PNG, GIF (first frame), BMP or WebP.

        Sizes may differ. A rotation noted in EXIF is applied: boxes are in pixels of the image as it is displayed.
        Raises tf.errors.InvalidArgumentError, which names the place in the batch from 0, if one cannot be decoded or is
        refused by `image_header.checked`.
        """
        numbered = (tf.range(tf.size(image_bytes)), image_bytes)
        return to_outputs(self._detector.detect_each(numbered, lambda each: _decode(*each)))

    def function(self) -> GraphFunction:
        """`detect` as a graph, traced once for images of all sizes."""
        images = tf.TensorSpec((None, None, None, 3), tf.uint8, name="images")
        return GraphFunction(self.detect, input_signature=[images])


def _decode(number: tf.Tensor, contents: tf.Tensor) -> tf.Tensor:
    return decode_named(contents, orientation(contents), tf.strings.format("image {}: ", number))
