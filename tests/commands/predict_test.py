"""Tests of commands/predict.py."""

import argparse
import json
import os
import tempfile
from pathlib import Path
from unittest import mock

import numpy as np
import tensorflow as tf
from PIL import Image

from tests.export.stand_in import CATEGORIES, BrightBox, photo
from tf_frozen import errors
from tf_frozen.commands import predict
from tf_frozen.export import pictures
from tf_frozen.export.saved_model import export


def _run(*words):
    parser = argparse.ArgumentParser()
    predict.add_arguments(parser)
    return predict.run(parser.parse_args([str(word) for word in words]))


def stop_at(path, add):
    """`PredictionWriter.add` that is interrupted at this image."""

    def add_or_stop(writer, at, *found):
        if at == str(path):
            raise KeyboardInterrupt
        add(writer, at, *found)

    return add_or_stop


class PredictTest(tf.test.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.model = export(BrightBox(), CATEGORIES, str(Path(folder.name, "model")))

    def setUp(self):
        super().setUp()
        self.folder = Path(self.get_temp_dir())
        self.photos, self.output = self.folder / "photos", self.folder / "output"
        self.photos.mkdir()

    def save(self, name, height, width, box, **how):
        (self.photos / name).parent.mkdir(exist_ok=True)
        Image.fromarray(photo(height, width, box)).save(self.photos / name, **how)

    def predict(self, *words):
        code = _run("--model", self.model, "--images", self.photos, "--output", self.output, *words)
        return code, json.loads((self.output / "predictions.json").read_text())

    def test_writes_coco_results_and_a_picture_of_each_image(self):
        self.save("a.png", 160, 240, (40, 100, 120, 200))
        self.save("below/b.jpg", 80, 240, (10, 20, 60, 220), quality=95)
        code, rows = self.predict()
        self.assertEqual(code, 0)
        self.assertEqual([(row["image_id"], row["category_id"]) for row in rows], [("a.png", 90), ("below/b.jpg", 90)])
        self.assertAllClose(rows[0]["bbox"], [100, 40, 100, 80], atol=5)
        self.assertAllClose(rows[1]["bbox"], [20, 10, 200, 50], atol=5)
        self.assertBetween(rows[0]["score"], 0.5, 1)
        for name in ("a.png", "below/b.jpg"):
            before, after = (np.asarray(Image.open(folder / name)) for folder in (self.photos, self.output))
            self.assertEqual(before.shape, after.shape)
            self.assertGreater(np.abs(before.astype(int) - after).max(), 100)

    def test_boxes_are_in_the_image_as_a_viewer_turns_it(self):
        turned_right = Image.Exif()
        turned_right[0x0112] = 6
        self.save("phone.jpg", 160, 240, (40, 100, 120, 200), exif=turned_right, quality=95)
        _, rows = self.predict()
        self.assertAllClose(rows[0]["bbox"], [160 - 120, 100, 80, 100], atol=5)
        self.assertEqual(Image.open(self.output / "phone.jpg").size, (160, 240))

    def test_the_threshold_decides_what_is_written(self):
        self.save("a.png", 160, 240, (40, 100, 120, 200))
        self.assertLen(self.predict("--score_threshold", 0)[1], 2)
        self.assertEmpty(self.predict("--score_threshold", 0.99)[1])
        with self.assertRaisesRegex(errors.DataError, "30.0 is not a score"):
            self.predict("--score_threshold", 30)

    def test_annotations_give_the_image_ids(self):
        self.save("a.png", 160, 240, (40, 100, 120, 200))
        annotations = self.folder / "val.json"
        images = [{"id": 17, "file_name": "a.png"}]
        annotations.write_text(json.dumps({"images": images, "annotations": [], "categories": []}))
        _, rows = self.predict("--annotations", annotations)
        self.assertEqual(rows[0]["image_id"], 17)

    def test_an_unreadable_image_is_reported_and_does_not_lose_the_others(self):
        self.save("a.png", 160, 240, (40, 100, 120, 200))
        self.save("c.png", 160, 240, (40, 100, 120, 200))
        (self.photos / "b.jpg").write_bytes(b"not a JPEG")
        with self.assertLogs("tf_frozen", "ERROR") as log:
            code, rows = self.predict()
        self.assertEqual(code, 1)
        self.assertEqual([row["image_id"] for row in rows], ["a.png", "c.png"])
        self.assertLen(log.output, 1)
        self.assertIn(str(self.photos / "b.jpg"), log.output[0])

    def test_a_killed_prediction_leaves_the_rows_so_far(self):
        for name in "abc":
            self.save(f"{name}.png", 160, 240, (40, 100, 120, 200))
        with (
            mock.patch.object(
                pictures.PredictionWriter, "add", stop_at(self.photos / "c.png", pictures.PredictionWriter.add)
            ),
            self.assertRaises(KeyboardInterrupt),
        ):
            self.predict()
        self.assertFalse((self.output / "predictions.json").exists())
        partial = self.output / "predictions.partial.jsonl"
        rows = [json.loads(line) for line in partial.read_text().splitlines()]
        self.assertEqual([row["image_id"] for row in rows], ["a.png", "b.png"])
        self.assertEqual(self.predict()[1][:2], rows)
        self.assertFalse(partial.exists())

    def test_a_file_name_of_other_bytes_than_utf_8(self):
        self.save("a.png", 160, 240, (40, 100, 120, 200))
        os.rename(self.photos / "a.png", os.fsencode(self.photos) + b"/\xe4.png")
        _, rows = self.predict()
        self.assertEqual(rows[0]["image_id"], os.fsdecode(b"\xe4.png"))
        self.assertTrue(os.path.exists(os.fsencode(self.output) + b"/\xe4.png"))

    def test_never_draws_over_the_images_it_reads(self):
        self.save("a.png", 160, 240, (40, 100, 120, 200))
        before = (self.photos / "a.png").read_bytes()
        with self.assertRaisesRegex(errors.RunError, "would replace the image .*a.png"):
            _run("--model", self.model, "--images", self.photos, "--output", self.photos)
        self.assertEqual((self.photos / "a.png").read_bytes(), before)

    def test_a_second_prediction_does_not_predict_on_the_first_ones_pictures(self):
        self.save("a.png", 160, 240, (40, 100, 120, 200))
        self.output = self.photos / "output"
        self.assertEqual(self.predict(), self.predict())

    def test_says_that_there_is_nothing_to_predict_on(self):
        with self.assertRaisesRegex(errors.DataError, "holds no image"):
            self.predict()

    def test_says_where_it_cannot_write(self):
        self.save("a.png", 160, 240, (40, 100, 120, 200))
        self.output.write_text("a file where a folder is needed")
        with self.assertRaisesRegex(errors.RunError, "Cannot write .*output"):
            self.predict()


if __name__ == "__main__":
    tf.test.main()
