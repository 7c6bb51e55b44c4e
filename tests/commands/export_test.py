import json
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.commands import job
from tf_frozen.data.images import read

pytestmark = pytest.mark.slow


class ExportTest(tf.test.TestCase):
    """Export and prediction need the run's directory alone: neither JSON is where it was."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.job = job.copy_of_trained(Path(folder.name).resolve() / "job")
        cls.photos = cls.job.folder / "photos"
        (cls.job.folder / "val.json").unlink()

    def setUp(self):
        super().setUp()
        elsewhere = self.enter_context(tempfile.TemporaryDirectory())
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(elsewhere)

    def test_exports_what_training_exported(self):
        code, out, error = job.command("export", "--model_dir", self.job.model_dir, "--output", "mine")
        self.assertEqual((code, error), (0, ""))
        self.assertIn(os.path.join(os.getcwd(), "mine"), out)
        classes = json.loads(Path("mine", "assets.extra", "classes.json").read_text())
        self.assertEqual(classes, [{"id": 7, "name": "tree"}, {"id": 90, "name": "shrub"}])
        image = read(str(self.photos / "val_0000_0000.jpg"))[np.newaxis]
        found = [
            tf.saved_model.load(str(folder)).signatures["serving_default"](images=tf.constant(image))
            for folder in ("mine", self.job.model_dir / "saved_model")
        ]
        self.assertGreater(int(found[0]["num_detections"][0]), 0)
        self.assertAllClose(*found, atol=1e-3)
        # The averaged weights of the last step were scored, and are what is exported.
        rows = json.loads((self.job.model_dir / "predictions" / "results.json").read_text())
        rows = [row for row in rows if row["image_id"] == "val 0"]
        best = max(rows, key=lambda row: row["score"])
        self.assertAllClose(best["score"], found[0]["detection_scores"][0, 0], atol=1e-5)
        self.assertEqual(best["category_id"], int(found[0]["detection_classes"][0, 0]))
        y1, x1, y2, x2 = found[0]["detection_boxes"][0, 0].numpy()
        self.assertAllClose(best["bbox"], [x1, y1, x2 - x1, y2 - y1], atol=1e-2)

    def test_an_earlier_checkpoint(self):
        words = ["--model_dir", self.job.model_dir, "--output", "earlier", "--checkpoint"]
        code, _, error = job.command("export", *words, f"ckpt-{job.STEPS - 2}")
        self.assertEqual((code, error), (0, ""))
        data = Path("variables", "variables.data-00000-of-00001")
        earlier, last = (
            (folder / data).read_bytes() for folder in (Path("earlier"), self.job.model_dir / "saved_model")
        )
        self.assertNotEqual(earlier, last)
        code, _, error = job.command("export", *words, "ckpt-7")
        self.assertEqual(code, 2)
        self.assertIn(f"ckpt-{job.STEPS}", error)

    def test_with_another_setting(self):
        words = ["--model_dir", self.job.model_dir, "--output", "augmented", "--gin_param"]
        self.assertEqual(
            job.command("export", *words, "RCNN.test_time_augmentation = @TestTimeAugmentation()")[::2], (0, "")
        )
        image = tf.constant(read(str(self.photos / "val_0000_0000.jpg"))[np.newaxis])
        two, one = (
            tf.saved_model.load(str(folder)).signatures["serving_default"](images=image)["detection_scores"]
            for folder in ("augmented", self.job.model_dir / "saved_model")
        )
        self.assertGreater(np.abs(one - two).max(), 1e-3)
        code, _, error = job.command("export", *words, "RCNN.test_time_augmentatio = None")
        self.assertEqual(code, 2)
        self.assertIn("Did you mean 'test_time_augmentation'?", error)

    def test_the_run_directory_predicts(self):
        photos = str(self.photos / "val_*.jpg")
        code, _, error = job.command(
            "predict", "--model", self.job.model_dir, "--images", photos, "--output", "found", "--score_threshold", "0"
        )
        self.assertEqual((code, error), (0, ""))
        rows = json.loads(Path("found", "predictions.json").read_text())
        self.assertEqual({row["image_id"] for row in rows}, {"val_0000_0000.jpg", "val_0000_0416.jpg"})
        self.assertContainsSubset({row["category_id"] for row in rows}, {7, 90})
        self.assertTrue(Path("found", "val_0000_0000.jpg").is_file())

    def test_a_folder_that_is_no_run(self):
        code, out, error = job.command("export", "--model_dir", "nowhere", "--output", "mine")
        self.assertEqual((code, out), (2, ""))
        self.assertIn("nowhere holds no run", error)
        self.assertFalse(Path("mine").exists())


if __name__ == "__main__":
    tf.test.main()
