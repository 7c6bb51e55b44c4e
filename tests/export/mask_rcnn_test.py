"""A detector of masks, exported, run without this package, and used to predict."""

import dataclasses
import os

import numpy as np
import tensorflow as tf

from tests.detectors.mask_rcnn_test import mask_rcnn
from tf_frozen import errors
from tf_frozen.data import images
from tf_frozen.data.category import Category
from tf_frozen.data.paths import resolve
from tf_frozen.export.masks import from_rle, paste
from tf_frozen.export.predictor import Predictor
from tf_frozen.export.saved_model import export
from tf_frozen.export.verify import compare, detections, verify
from tf_frozen.keras_flavor import keras

CATEGORIES = [Category(7, "tree"), Category(21, "bush")]


class MaskRCNNTest(tf.test.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        keras.utils.set_random_seed(0)
        folder = resolve("embedded:neon_trees/val")
        square = images.read(os.path.join(folder, sorted(os.listdir(folder))[0]))
        cls.pictures = [square, square[:150, :311]]
        cls.detector = mask_rcnn()
        cls.detector(tf.zeros([1, *cls.detector.frame, 3]))
        # Masks of an untrained head are all near a half; these are not.
        head = cls.detector.mask_head
        head.kernel.assign(tf.random.stateless_normal(head.kernel.shape, [1, 2]))
        cls.saved_model = export(cls.detector, CATEGORIES, os.path.join(cls().get_temp_dir(), "model"))
        cls.expected = detections(cls.detector, CATEGORIES, cls.pictures)

    def test_gives_the_same_masks_in_a_fresh_process(self):
        agreed = verify(self.saved_model, self.pictures, self.expected)
        self.assertEqual(agreed["detections"], sum(len(rows.scores) for rows in self.expected))
        self.assertLess(agreed["mask_difference"], 1e-4)
        for rows in self.expected:
            self.assertNotEmpty(rows.scores)
            self.assertEqual(rows.masks.shape, (len(rows.scores), 8, 8))
            self.assertGreater(np.std(rows.masks), 0.1)

    def test_another_mask_is_found_out(self):
        rows = self.expected[0]
        self.assertEqual(compare(rows, rows), (0.0, 0.0, 0.0))
        masks = rows.masks.copy()
        masks[2, 3, 4] += 0.01
        with self.assertRaisesRegex(errors.RunError, "mask of 0.* instead of .* mask of 0"):
            compare(dataclasses.replace(rows, masks=masks), rows)
        without = dataclasses.replace(rows, masks=None)
        for found, expected, message in ((without, rows, "gives no masks"), (rows, without, "gives masks, which")):
            with self.assertRaisesRegex(errors.RunError, message):
                compare(found, expected)

    def test_the_predictor_gives_masks_of_the_picture(self):
        path = os.path.join(self.get_temp_dir(), "picture.png")
        tf.io.write_file(path, tf.io.encode_png(self.pictures[1]))
        shown = []
        rows, failures = Predictor(self.saved_model).predict(
            [path], {path: "a"}, show=lambda path, image, found: shown.append(found)
        )
        self.assertEmpty(failures)
        self.assertLen(rows, len(self.expected[1].scores))
        for row, box, mask, rle in zip(
            rows, self.expected[1].boxes, self.expected[1].masks, shown[0].segmentations, strict=True
        ):
            self.assertEqual(row["segmentation"], rle)
            self.assertLess(np.mean(from_rle(rle) != paste(mask, box, 150, 311)), 1e-3)


if __name__ == "__main__":
    tf.test.main()
