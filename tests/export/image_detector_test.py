"""The rows that `evaluate` scores are those that `predict` writes."""

import os

import numpy as np
import tensorflow as tf
from PIL import Image

from tests.export.stand_in import CATEGORIES, BrightBox
from tf_frozen.data.example import Example
from tf_frozen.data.images import read
from tf_frozen.data.paths import resolve
from tf_frozen.data.pipeline import eval_batches
from tf_frozen.data.sources.image_files import ImageFiles
from tf_frozen.detectors.test_time_augmentation import TestTimeAugmentation
from tf_frozen.export.image_detector import ImageDetector, detect_all
from tf_frozen.export.masks import from_rle
from tf_frozen.export.predictor import Predictor
from tf_frozen.export.saved_model import export

SIZES = ((67, 41), (301, 400), (101, 640), (30, 31))  # in a frame of 64 × 96 px most end within a pixel


class Augmented(BrightBox):
    """On an image and its mirror image."""

    def call(self, images, image_size=None, training=None):
        return (
            super().call(images)
            if image_size is None
            else TestTimeAugmentation().detect(super().call, images, image_size)
        )


class WithMasks(BrightBox):
    """Each box's mask has the object in three of its four columns."""

    finds_masks = True

    def call(self, images, image_size=None, training=None):
        masks = tf.tile([[[[1.0, 1.0, 1.0, 0.0]]]], [tf.shape(images)[0], 3, 4, 1])
        return {**super().call(images, image_size, training), "masks": masks}


class EvaluateAndPredictTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = self.get_temp_dir()
        photo = read(resolve("embedded:neon_trees/val/val_0000_0000.jpg"))
        examples, paths = [], []
        for number, (height, width) in enumerate(SIZES):
            path = os.path.join(self.folder, f"{number}.png")
            scaled = np.array(Image.fromarray(photo).resize((width, height)))
            scaled[height // 3 : height // 2, width // 4 : width // 2] = 255  # what BrightBox finds
            Image.fromarray(scaled).save(path)
            paths.append(path)
            examples.append(Example(number, height, width, [], []))
        self.source = ImageFiles(examples, CATEGORIES, paths)

    def both(self, detector):
        """The rows of `evaluate`, in batches of three, and those of `predict`."""
        detect = tf.function(ImageDetector(detector, CATEGORIES).detect)
        evaluated = detect_all(detect, eval_batches(self.source, detector.frame, 3), self.source.examples)
        saved_model = export(detector, CATEGORIES, os.path.join(self.folder, "saved_model"))
        ids = {path: example.image_id for path, example in zip(self.source.paths, self.source.examples, strict=True)}
        predicted, _ = Predictor(saved_model).predict(list(ids), ids)
        return evaluated, predicted

    def assertSame(self, evaluated, predicted):
        self.assertGreater(len(evaluated), len(SIZES))
        keys = ("image_id", "category_id")
        self.assertEqual(*([[row[key] for key in keys] for row in rows] for rows in (evaluated, predicted)))
        self.assertAllClose(*([row["bbox"] for row in rows] for rows in (evaluated, predicted)), 0, 1e-3)
        self.assertAllClose(*([row["score"] for row in rows] for rows in (evaluated, predicted)), 0, 1e-5)

    def assertWithinTheImages(self, rows):
        for row in rows:
            (x, y, w, h), (height, width) = row["bbox"], SIZES[row["image_id"]]
            self.assertGreaterEqual(min(x, y), 0.0)
            # A width is the difference of two float32 edges.
            self.assertLessEqual(x + w - width, 1e-4)
            self.assertLessEqual(y + h - height, 1e-4)

    def test_boxes_with_test_time_augmentation(self):
        evaluated, predicted = self.both(Augmented())
        self.assertSame(evaluated, predicted)
        self.assertWithinTheImages(evaluated)
        # The detector's box around the whole frame, and more, is that around the image.
        whole = {row["image_id"]: row["bbox"] for row in evaluated if row["category_id"] == 3}
        self.assertAllClose(list(whole.values()), [[0, 0, width, height] for height, width in SIZES], 1e-6)

    def test_boxes_and_masks(self):
        evaluated, predicted = self.both(WithMasks())
        self.assertSame(evaluated, predicted)
        self.assertWithinTheImages(evaluated)
        self.assertEqual([row["segmentation"] for row in evaluated], [row["segmentation"] for row in predicted])
        for row in evaluated:
            mask = from_rle(row["segmentation"])
            self.assertEqual(mask.shape, SIZES[row["image_id"]])
            # Three of four columns are the object.
            self.assertAllClose(mask.sum(), 0.75 * row["bbox"][2] * row["bbox"][3], rtol=0.15, atol=4)


if __name__ == "__main__":
    tf.test.main()
