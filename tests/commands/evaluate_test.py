import json
import os
import shutil
import tempfile
from pathlib import Path

import pytest
import tensorflow as tf

from tests.commands import job

pytestmark = pytest.mark.slow


class EvaluateTest(tf.test.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.job = job.trained()

    def setUp(self):
        super().setUp()
        # A copy, by a path relative to a folder that has nothing to do with the training.
        elsewhere = self.enter_context(tempfile.TemporaryDirectory())
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(elsewhere)
        self.model_dir = Path("copied")
        shutil.copytree(self.job.model_dir, self.model_dir)
        (self.model_dir / "metrics.jsonl").unlink()

    def test_gives_again_what_training_gave_from_the_directory_alone(self):
        shutil.rmtree(self.model_dir / "predictions")
        code, out, _ = job.command("evaluate", "--model_dir", self.model_dir)
        self.assertEqual(code, 0)
        self.assertRegex(out, r"\nAP50 +\d\.\d{3} ")
        self.assertRegex(out, r"\nshrub +\d+ ")
        metrics = json.loads((self.model_dir / "metrics.json").read_text())
        expected = json.loads((self.model_dir / "summary.json").read_text())["metrics"]
        self.assertAllClose({name: metrics[name] or 0 for name in expected}, {n: v or 0 for n, v in expected.items()})
        line = json.loads((self.model_dir / "metrics.jsonl").read_text())
        best = json.loads((self.model_dir / "best" / "best.json").read_text())
        self.assertEqual(line, {"step": best["step"], "images": 2, **metrics})
        self.assertLen(list((self.model_dir / "predictions").glob("*.png")), 2)

    def test_other_data_and_another_checkpoint_and_json_alone_on_standard_output(self):
        document = json.loads((self.job.folder / "val.json").read_text())
        document["images"] = document["images"][1:]
        document["annotations"] = [row for row in document["annotations"] if row["image_id"] == "val 1"]
        Path("other.json").write_text(json.dumps(document))
        words = ["--model_dir", self.model_dir, "--checkpoint", f"ckpt-{job.STEPS - 1}", "--json"]
        code, out, _ = job.command("evaluate", *words, "--gin_param", "VAL_ANNOTATIONS = 'other.json'")
        self.assertEqual(code, 0)
        self.assertIn("AP50", json.loads(out))
        self.assertEqual(json.loads((self.model_dir / "metrics.jsonl").read_text())["step"], job.STEPS - 1)
        rows = json.loads((self.model_dir / "predictions" / "results.json").read_text())
        self.assertEqual({row["image_id"] for row in rows}, {"val 1"})

    def test_warns_of_images_at_another_magnification_than_trained_on(self):
        words = ["--model_dir", self.model_dir, "--gin_param", "FRAME = (320, 320)"]
        code, _, error = job.command("evaluate", *words)
        self.assertEqual(code, 0)
        self.assertEqual(error.count("2 of 2 images are shown at another magnification than those trained on"), 1)
        self.assertIn("has 0.769 frame pixels for an image pixel, training had 0.208 to 0.416", error)

    def test_what_it_cannot_do_without(self):
        Path("empty").mkdir()
        Path("other.json").write_text((self.job.folder / "val.json").read_text().replace("shrub", "bush"))
        cases = {
            ("--model_dir", "empty"): "tf-frozen train",
            ("--model_dir", "nowhere"): "nowhere holds no run",
            ("--model_dir", self.model_dir, "--checkpoint", "ckpt-7"): f"ckpt-{job.STEPS}",
            ("--model_dir", self.model_dir, "--gin_param", "VAL_ANNOTATIONS = 'other.json'"): "(90, 'bush')",
            ("--model_dir", self.model_dir, "--gin_param", "VAL_ANNOTATIONS = 'nothing.json'"): "nothing.json",
        }
        for words, expected in cases.items():
            with self.subTest(str(words)):
                code, out, error = job.command("evaluate", *words)
                self.assertEqual((code, out), (2, ""))
                self.assertIn(expected, error)
        for folder in ("checkpoints", "best"):
            shutil.rmtree(self.model_dir / folder)
        code, _, error = job.command("evaluate", "--model_dir", self.model_dir)
        self.assertEqual(code, 2)
        self.assertIn("holds no checkpoint", error)


if __name__ == "__main__":
    tf.test.main()
