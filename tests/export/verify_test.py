"""Tests of export/verify.py."""

import dataclasses
import os

import numpy as np
import tensorflow as tf

from tests.export.stand_in import CATEGORIES, BrightBox, photo
from tf_frozen import errors
from tf_frozen.export.saved_model import export
from tf_frozen.export.signature import Detections
from tf_frozen.export.verify import compare, detections, run_alone, verify


class VerifyTest(tf.test.TestCase):
    def test_a_fresh_process_gives_the_same_on_images_of_different_sizes_in_memory_of_its_own(self):
        folder = self.get_temp_dir()
        images = [
            photo(160, 240, (40, 100, 120, 200)),
            os.path.join(folder, "tall.png"),
            photo(9, 9, (2, 2, 5, 5)),
        ]
        tf.io.write_file(images[1], tf.io.encode_png(photo(301, 90, (10, 20, 250, 80))))
        detector = BrightBox()
        saved_model = export(detector, CATEGORIES, os.path.join(folder, "model"))
        expected = detections(detector, CATEGORIES, images)
        ballast = np.ones(2**31, np.uint8)
        agreed = verify(saved_model, images, expected)
        self.assertBetween(agreed["peak_memory_bytes"], 10**8, ballast.size)
        self.assertEqual((agreed["images"], agreed["detections"]), (3, 6))
        self.assertLess(agreed["box_difference"], 1e-3)
        self.assertLess(agreed["score_difference"], 1e-5)

    def test_other_weights_are_found_out(self):
        folder = self.get_temp_dir()
        detector = BrightBox()
        saved_model = export(detector, CATEGORIES, os.path.join(folder, "model"))
        detector.dense.bias.assign([1e-3])
        image = photo(160, 240, (40, 100, 120, 200))
        with self.assertRaisesRegex(errors.RunError, "class 90 score 0.5.* instead of class 90 score 0.5"):
            verify(saved_model, [image], detections(detector, CATEGORIES, [image]))

    def test_a_model_that_needs_this_process_fails_with_its_last_words(self):
        class Needy(tf.Module):
            @tf.function(input_signature=[tf.TensorSpec((None, None, None, 3), tf.uint8)])
            def detect(self, images):
                return {"num_detections": tf.py_function(lambda: [0], [], tf.int32)}

        folder = os.path.join(self.get_temp_dir(), "needy")
        module = Needy()
        tf.saved_model.save(module, folder, {"serving_default": module.detect})
        with self.assertRaisesRegex(errors.RunError, "(?s)needy does not run .*exit code 1.*py_?func"):
            run_alone(folder, [np.zeros((4, 4, 3), np.uint8)])


class CompareTest(tf.test.TestCase):
    expected = Detections(
        boxes=np.float32([[0, 0, 10, 10], [5, 5, 20, 30]]),
        scores=np.float32([0.9, 0.9]),
        classes=np.int32([3, 90]),
        image_size=(100, 60),
    )

    def changed(self, key, value):
        dtype = getattr(self.expected, key).dtype
        return dataclasses.replace(self.expected, **{key: np.asarray(value, dtype)})

    def taken(self, rows):
        arrays = {key: getattr(self.expected, key)[rows] for key in ("boxes", "scores", "classes")}
        return dataclasses.replace(self.expected, **arrays)

    def test_the_order_does_not_count(self):
        self.assertEqual(compare(self.taken([1, 0]), self.expected), (0, 0))

    def test_gives_the_largest_difference_within_the_tolerances(self):
        found = self.changed("boxes", [[0, 0, 10, 10], [5, 5, 20, 30.0005]])
        self.assertAllClose(compare(found, self.expected), (0.0005, 0), atol=1e-5)

    def test_whatever_differs_is_an_error_that_shows_both(self):
        for found, message in (
            (self.changed("boxes", [[0, 0, 10, 10], [5, 5, 20, 30.01]]), "30.0100.* instead of .*30.0000"),
            (self.changed("scores", [0.9, 0.9001]), "score 0.900100 .* instead of .* score 0.900000"),
            (self.changed("classes", [3, 3]), "class 3 .* instead of class 90"),
            (self.taken([0]), "1 detections instead of 2"),
            (self.changed("boxes", [[5, 5, 20, 30], [5, 5, 20, 30]]), "instead of"),
        ):
            with self.assertRaisesRegex(errors.RunError, message):
                compare(found, self.expected)


if __name__ == "__main__":
    tf.test.main()
