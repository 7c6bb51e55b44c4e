"""Tiles against a detector whose answer is known: it finds the rectangles of given grey values, cut or whole."""

import os

import numpy as np
import tensorflow as tf
from PIL import Image

from tests.export.stand_in import CATEGORIES
from tf_frozen.data.example import Example
from tf_frozen.data.pipeline import eval_batches
from tf_frozen.data.sources.image_files import ImageFiles
from tf_frozen.detectors.tiles import Tiles
from tf_frozen.errors import ConfigError
from tf_frozen.export.image_detector import ImageDetector, detect_all
from tf_frozen.export.masks import from_rle
from tf_frozen.export.predictor import Predictor
from tf_frozen.export.saved_model import export
from tf_frozen.geometry import masks as mask_ops
from tf_frozen.keras_flavor import keras

SIDE = 64  # of a tile; at the default overlap of a quarter, an object of up to 12 pixels is found whole
VALUES = np.arange(130, 250, dtype=np.float32)  # the padding has none of them


class Finder(keras.Model):
    """Finds on each frame the box of the pixels of each grey value, of class 1 if odd and 2 if even.

    `noise` moves edges by up to that many pixels, otherwise on each frame; a mask is 1 where its value is.
    """

    def __init__(self, tiles=None, values=VALUES, tolerance=0.5, noise=0.0, masks=False):
        super().__init__()
        self.frame, self.tiles, self.finds_masks = (SIDE, SIDE), tiles, masks
        self.values, self.tolerance, self.noise = values, tolerance, noise

    def call(self, images, image_size=None, training=None):
        marks = tf.abs(images[:, tf.newaxis, ..., 0] - self.values[:, np.newaxis, np.newaxis]) < self.tolerance
        (top, bottom), (left, right) = _extent(tf.reduce_any(marks, 3)), _extent(tf.reduce_any(marks, 2))
        boxes = tf.stack([top, left, bottom, right], -1)
        seed = tf.cast(tf.stack([tf.reduce_sum(images) % 1e6, 0]), tf.int32)
        boxes += self.noise * tf.random.stateless_uniform(tf.shape(boxes), seed, -1.0, 1.0)
        boxes = tf.clip_by_value(boxes, 0.0, tf.tile(image_size, [1, 2])[:, tf.newaxis])
        found = {
            "boxes": boxes,
            "scores": tf.fill(tf.shape(boxes)[:2], 0.5),
            "classes": tf.tile([2 - tf.cast(self.values, tf.int32) % 2], [tf.shape(images)[0], 1]),
        }
        if self.finds_masks:
            frame = tf.broadcast_to(tf.constant([0.0, 0.0, SIDE, SIDE]), tf.shape(boxes))
            found["masks"] = mask_ops.crop(tf.cast(marks, tf.float32), frame, boxes, 8)
        seen = tf.cast(tf.reduce_any(marks, [2, 3]), tf.int32)
        order = tf.argsort(seen, direction="DESCENDING", stable=True)
        found = {name: tf.gather(rows, order, batch_dims=1) for name, rows in found.items()}
        return {**found, "count": tf.reduce_sum(seen, 1)}


def _extent(lines):
    """First marked line and the one after the last of [batch, n, length], float32 [batch, n] each."""
    lines = tf.cast(lines, tf.int32)
    far = lines.shape[-1] - tf.argmax(lines[..., ::-1], -1)
    return tf.cast(tf.argmax(lines, -1), tf.float32), tf.cast(far, tf.float32)


def field(height, width, boxes, values=VALUES):
    """A black image, uint8, with a rectangle of another grey value for each box."""
    image = np.zeros([height, width, 3], np.uint8)
    for (y1, x1, y2, x2), value in zip(np.array(boxes, int), values.astype(int), strict=False):
        image[y1:y2, x1:x2] = value
    return image


def scattered(height, width, largest, seed=0):
    """Boxes of 4 to `largest` pixels, apart from one another, at most as many as there are values."""
    generator, cell = np.random.default_rng(seed), largest + 2
    corners = [(y, x) for y in range(0, height - cell, cell) for x in range(0, width - cell, cell)]
    corners = generator.permutation(corners)[: len(VALUES)]
    sides = generator.integers(4, largest + 1, corners.shape)
    near = corners + generator.integers(0, cell - sides)
    return np.concatenate([near, near + sides], 1).astype(np.float32)


def by_place(boxes):
    return sorted(np.round(boxes).astype(int).tolist())


class TilesTest(tf.test.TestCase):
    def found(self, image, tiles=None, **arguments):
        tiles = tiles or Tiles()
        finder = Finder(tiles, **arguments)
        found = tiles.detect(finder, tf.constant(image), finder.frame, finder.finds_masks)
        return {name: rows.numpy() for name, rows in found.items()}

    def test_an_object_cut_by_a_seam_is_found_once(self):
        # 1 to 4 tiles along an axis, whose overlaps are a quarter of a tile to nearly all of it.
        for height, width in ((64, 65), (150, 100), (210, 190)):
            for seed in (0, 1):
                boxes = scattered(height, width, 12, seed)
                found = self.found(field(height, width, boxes))
                self.assertEqual(by_place(found["boxes"]), by_place(boxes))

    def test_wherever_the_object_is(self):
        x = np.arange(130 - 12)
        boxes = np.stack([14 * x, x, 14 * x + 12, x + 12], 1)
        self.assertAllEqual(by_place(self.found(field(14 * len(x), 130, boxes))["boxes"]), boxes)

    def test_an_edge_that_two_tiles_see_differently_neither_doubles_nor_loses_an_object(self):
        for seed in range(4):
            boxes = scattered(150, 210, 9, seed)
            boxes = boxes[np.min(boxes[:, 2:] - boxes[:, :2], 1) > 6]  # a smaller one is not the same with this noise
            found = self.found(field(150, 210, boxes), noise=0.8)
            self.assertLen(found["boxes"], len(boxes))

    def test_a_stitched_field_gives_what_its_tiles_give(self):
        boxes = scattered(64, 64, 12)
        image = np.zeros([128, 192, 3], np.uint8)
        expected = []
        for number, (y, x) in enumerate(np.ndindex(2, 3)):
            values = np.roll(VALUES, 20 * number)[: len(boxes)]
            tile = field(64, 64, boxes, values)
            alone = Finder()(tf.cast(tile[np.newaxis], tf.float32), tf.constant([[64.0, 64.0]]))
            expected += list(alone["boxes"][0, : alone["count"][0]].numpy() + np.tile([64 * y, 64 * x], 2))
            image[64 * y : 64 * y + 64, 64 * x : 64 * x + 64] = tile
        self.assertLen(expected, 6 * len(boxes))
        # Each value is in several tiles of the field, but in no two that one window sees.
        found = self.found(image)
        self.assertEqual(by_place(found["boxes"]), by_place(expected))

    def test_an_image_smaller_than_a_tile(self):
        found = self.found(field(30, 50, [[5, 8, 15, 20], [25, 40, 30, 50]]))
        self.assertEqual(by_place(found["boxes"]), [[5, 8, 15, 20], [25, 40, 30, 50]])

    def test_an_image_without_objects(self):
        found = self.found(field(100, 100, []))
        self.assertEqual((found["boxes"].shape, found["scores"].shape), ((0, 4), (0,)))

    def test_magnification_scales_the_image_and_not_the_boxes(self):
        box = [40, 70, 50, 82]
        for magnification in (0.4, 1.7, 2.0):
            image, tiles = field(90, 140, [box], np.float32([220])), Tiles(magnification, overlap=0.5)
            found = self.found(image, tiles, values=np.float32([220]), tolerance=60)
            self.assertAllClose(found["boxes"], [box], atol=0.6 / magnification)

    def test_tiles_are_spread_evenly_from_edge_to_edge(self):
        for length, starts in (
            (64, [0]),
            (30, [0]),
            (65, [0, 1]),
            (112, [0, 48]),
            (113, [0, 24, 49]),
            (160.4, [0, 32, 65, 97]),
        ):
            spans = Tiles()._spans(tf.constant(float(length)), SIDE).numpy()
            self.assertAllEqual(spans[:, 1], starts)
            self.assertAllEqual(spans[1:, 0], starts[:-1])
            self.assertAllEqual(spans[:-1, 2], starts[1:])

    def test_an_impossible_argument_is_explained(self):
        for arguments, words in (
            ({"magnification": 0.0}, "Tiles.magnification is 0.0; it must be a finite number above 0"),
            ({"overlap": 0.6}, "Tiles.overlap is 0.6; it must be a number above 0 and up to 0.5"),
        ):
            with self.assertRaisesRegex(ConfigError, words):
                Tiles(**arguments)
        with self.assertRaisesRegex(ConfigError, "overlap is 0.05, 3 of the frame's 64 pixels, which is less than"):
            self.found(field(100, 100, []), Tiles(overlap=0.05))


class TiledImagesTest(tf.test.TestCase):
    """Tiles through `evaluate`, `predict` and an exported SavedModel."""

    def setUp(self):
        super().setUp()
        self.folder = self.get_temp_dir()
        self.truth, examples, paths = {}, [], []
        for number, (height, width) in enumerate(((150, 100), (40, 50), (70, 210))):
            boxes = scattered(height, width, 12, number)
            self.truth[number] = boxes
            path = os.path.join(self.folder, f"{number}.png")
            Image.fromarray(field(height, width, boxes)).save(path)
            paths.append(path)
            examples.append(Example(number, height, width, [], []))
        self.source = ImageFiles(examples, CATEGORIES, paths)

    def test_evaluate_predict_and_the_export_find_the_same(self):
        finder = Finder(Tiles(), masks=True)
        finder(tf.zeros([1, SIDE, SIDE, 3]), tf.constant([[64.0, 64.0]]))
        detect = tf.function(ImageDetector(finder, CATEGORIES).detect)
        evaluated = detect_all(detect, eval_batches(self.source, None, 4), self.source.examples)
        saved_model = export(finder, CATEGORIES, os.path.join(self.folder, "saved_model"))
        ids = {path: example.image_id for path, example in zip(self.source.paths, self.source.examples, strict=True)}
        predicted, _ = Predictor(saved_model).predict(list(ids), ids)
        self.assertEqual(evaluated, predicted)
        for number, boxes in self.truth.items():
            rows = [row for row in evaluated if row["image_id"] == number]
            found = [[y, x, y + h, x + w] for x, y, w, h in (row["bbox"] for row in rows)]
            self.assertEqual(by_place(found), by_place(boxes))
            for row in rows:
                self.assertAllClose(from_rle(row["segmentation"]).sum(), row["bbox"][2] * row["bbox"][3], rtol=0.1)
        self.assertEqual({row["category_id"] for row in evaluated}, {3, 90})
        with self.subTest("images of several sizes in one batch of bytes"):
            contents = tf.stack([tf.io.read_file(path) for path in self.source.paths])
            served = tf.saved_model.load(saved_model).signatures["image_bytes"](image_bytes=contents)
            self.assertAllEqual(served["num_detections"], [len(boxes) for boxes in self.truth.values()])
            most = max(map(len, self.truth.values()))
            self.assertEqual(served["detection_masks"].shape, (3, most, 8, 8))
            for place, boxes in self.truth.items():
                found = served["detection_boxes"][place]
                self.assertEqual(by_place(found[: len(boxes)]), by_place(boxes))
                self.assertAllEqual(found[len(boxes) :], tf.zeros([most - len(boxes), 4]))


if __name__ == "__main__":
    tf.test.main()
