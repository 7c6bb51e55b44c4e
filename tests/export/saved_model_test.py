"""Tests of export/saved_model.py."""

import io
import itertools
import json
import os
import resource
import signal
import struct
import tempfile
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image, ImageOps

from tests.data.image_samples import animated_webp, encoded, exif
from tests.export.stand_in import CATEGORIES, BrightBox, photo
from tests.training.lab import lab
from tf_frozen import errors
from tf_frozen.data.category import Category
from tf_frozen.export.saved_model import export


class ServedTest(tf.test.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = export(BrightBox(), CATEGORIES, os.path.join(folder.name, "served"))
        cls.model = tf.saved_model.load(cls.folder)

    def detect(self, signature, **inputs):
        return {key: value.numpy() for key, value in self.model.signatures[signature](**inputs).items()}

    def test_boxes_are_in_pixels_of_the_original_and_classes_are_the_data_sets_own(self):
        # 64 x 96 holds a 160 x 240 image at 0.4 frame pixels a pixel: a frame pixel is 2.5 of the original.
        found = self.detect("serving_default", images=photo(160, 240, (40, 100, 120, 200))[None])
        self.assertAllClose(found["detection_boxes"][0, 0], [40, 100, 120, 200], atol=2.5)
        self.assertAllEqual(found["detection_classes"], [[90, 3, 0]])
        self.assertAllEqual(found["num_detections"], [2])

    def test_a_box_beyond_the_image_is_cut_to_it(self):
        for height, width in ((160, 240), (100, 700), (33, 7)):
            found = self.detect("serving_default", images=np.zeros((1, height, width, 3), np.uint8))
            self.assertAllClose(found["detection_boxes"][0, 1], [0, 0, height, width], rtol=1e-6)

    def test_rows_after_the_last_detection_are_zeros(self):
        found = self.detect("serving_default", images=np.zeros((2, 50, 50, 3), np.uint8))
        for key in ("detection_boxes", "detection_scores", "detection_classes"):
            self.assertAllEqual(found[key][:, 2], np.zeros_like(found[key][:, 2]))

    def test_images_of_different_sizes_in_one_batch_of_bytes(self):
        pictures = [
            photo(160, 240, (40, 100, 120, 200)),
            photo(300, 90, (10, 20, 250, 80)),
            photo(20, 30, (5, 5, 9, 9)),
        ]
        encoded = [tf.io.encode_png(picture) for picture in pictures]
        encoded[1] = tf.io.encode_jpeg(pictures[1], quality=100)
        together = self.detect("image_bytes", image_bytes=tf.stack(encoded))
        for index, picture in enumerate(pictures):
            alone = self.detect("serving_default", images=picture[None])
            for key in alone:
                self.assertAllClose(together[key][index], alone[key][0], atol=1e-3)

    def test_bytes_are_turned_as_exif_says(self):
        picture = photo(160, 240, (40, 100, 120, 200))
        for value, byte_order in itertools.product(range(1, 9), "<>"):
            contents = encoded(Image.fromarray(picture), "PNG", exif=exif(value, byte_order)[6:])
            shown = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(contents))))
            found = self.detect("image_bytes", image_bytes=tf.constant([contents]))
            expected = self.detect("serving_default", images=shown[None])
            for key in expected:
                self.assertAllClose(found[key], expected[key], msg=f"{value} {key}")

    def test_bytes_that_cannot_be_decoded_are_named_and_do_no_harm(self):
        good = tf.io.encode_png(photo(16, 24, (4, 10, 12, 20))).numpy()
        picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, [40, 60, 3], np.uint8))
        whole = [encoded(picture, file_format) for file_format in ("JPEG", "PNG", "GIF", "BMP", "WEBP")]
        halves = [contents[: len(contents) // 2] for contents in whole]
        too_large = good[:16] + struct.pack(">II", 13_000, 13_000) + good[24:]
        for bad, message in (
            (animated_webp(frames=1), "image 1: animated WebP is not supported"),
            (too_large, "image 1: the image has 13000 x 13000 pixels"),
            (b"<html>404 Not Found</html>", "image 1: this is not a JPEG, PNG, GIF, BMP or WebP image"),
            (b"", "image 1: this is not a JPEG, PNG, GIF, BMP or WebP image"),
            *((cut, "image 1: the image cannot be decoded; its file is damaged or cut off") for cut in halves),
        ):
            with self.assertRaisesRegex(tf.errors.InvalidArgumentError, message):
                self.detect("image_bytes", image_bytes=tf.constant([good, bad, good]))
        self.assertAllEqual(self.detect("image_bytes", image_bytes=tf.constant([good]))["num_detections"], [2])

    def test_describes_itself(self):
        extra = Path(self.folder, "assets.extra")
        classes = json.loads((extra / "classes.json").read_text())
        about = json.loads((extra / "tf_frozen.json").read_text())
        self.assertEqual(classes, [{"id": 3, "name": "oak"}, {"id": 90, "name": "elm"}])
        self.assertEqual(about["image_size"], [64, 96])
        self.assertEqual(about["parameters"], 2)

    def test_outputs_have_the_documented_types_and_shapes(self):
        for signature in ("serving_default", "image_bytes"):
            outputs = self.model.signatures[signature].structured_outputs
            self.assertEqual(
                {key: value.dtype.name for key, value in outputs.items()},
                {
                    "detection_boxes": "float32",
                    "detection_scores": "float32",
                    "detection_classes": "int32",
                    "num_detections": "int32",
                },
            )


class FolderTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.target = Path(self.get_temp_dir(), "model")

    def test_replaces_an_earlier_export(self):
        detector = BrightBox()
        export(detector, CATEGORIES, str(self.target))
        detector.dense.bias.assign([-20.0])
        export(detector, CATEGORIES, str(self.target))
        detect = tf.saved_model.load(str(self.target)).signatures["serving_default"]
        self.assertLess(detect(images=tf.zeros([1, 9, 9, 3], tf.uint8))["detection_scores"][0, 0], 1e-6)
        self.assertEqual([entry.name for entry in self.target.parent.iterdir()], ["model"])

    def test_fills_an_empty_folder(self):
        self.target.mkdir(parents=True)
        export(BrightBox(), CATEGORIES, str(self.target))
        self.assertTrue((self.target / "saved_model.pb").is_file())

    def test_any_name_that_a_json_can_hold_is_written(self):
        names = ["树", "half a pair \ud83d"]
        export(BrightBox(), [Category(3, names[0]), Category(90, names[1])], str(self.target))
        classes = json.loads((self.target / "assets.extra" / "classes.json").read_text())
        self.assertEqual([row["name"] for row in classes], names)

    def test_refuses_what_it_did_not_write(self):
        self.target.mkdir(parents=True)
        (self.target / "thesis.tex").write_text("years of work")
        with self.assertRaisesRegex(errors.RunError, "thesis.tex"):
            export(BrightBox(), CATEGORIES, str(self.target))
        self.assertEqual((self.target / "thesis.tex").read_text(), "years of work")

    def test_refuses_an_earlier_export_to_which_something_was_added(self):
        export(BrightBox(), CATEGORIES, str(self.target))
        (self.target / "notes.txt").write_text("measured on Monday")
        with self.assertRaisesRegex(errors.RunError, "notes.txt"):
            export(BrightBox(), CATEGORIES, str(self.target))

    def test_refuses_a_foreign_saved_model_and_a_file(self):
        tf.saved_model.save(tf.Module(), str(self.target))
        with self.assertRaisesRegex(errors.RunError, "without .*tf_frozen.json"):
            export(BrightBox(), CATEGORIES, str(self.target))
        with self.assertRaisesRegex(errors.RunError, "saved_model.pb"):
            export(BrightBox(), CATEGORIES, str(self.target / "saved_model.pb"))

    def test_says_where_it_cannot_write(self):
        self.target.parent.mkdir(parents=True, exist_ok=True)
        self.target.write_text("a file where a folder is needed")
        with self.assertRaisesRegex(errors.RunError, "Cannot write .*model/below: .*model is a file"):
            export(BrightBox(), CATEGORIES, str(self.target / "below"))

    def test_a_full_disk_is_a_clear_error_and_keeps_the_earlier_export(self):
        export(BrightBox(), CATEGORIES, str(self.target))
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
        try:
            with self.assertRaisesRegex(
                errors.RunError, "Cannot write .*model: .*too large.*bytes are free there. Lift the limit"
            ):
                export(BrightBox(), CATEGORIES, str(self.target))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        self.assertEqual([entry.name for entry in self.target.parent.iterdir()], ["model"])
        tf.saved_model.load(str(self.target))

    def test_a_killed_export_is_not_there_and_the_next_one_clears_up(self):
        self.target.parent.mkdir(parents=True, exist_ok=True)
        code, said = lab().run("export_killed", f"{self.target}.log", folder=str(self.target))
        self.assertEqual(code, -signal.SIGKILL, said)
        os.remove(f"{self.target}.log")
        self.assertFalse(self.target.exists())
        self.assertLen(list(self.target.parent.iterdir()), 1)
        export(BrightBox(), CATEGORIES, str(self.target))
        self.assertEqual([entry.name for entry in self.target.parent.iterdir()], ["model"])


if __name__ == "__main__":
    tf.test.main()
