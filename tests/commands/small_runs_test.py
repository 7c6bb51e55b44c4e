"""A detector of each family on the embedded photographs, from its shipped gin file to its predictions."""

import json
import tempfile
from pathlib import Path

import pytest
import tensorflow as tf

from tests.commands import job
from tf_frozen.data.paths import resolve

STEPS = 8
# The averages follow within the few steps there are, else nothing is found.
FEW_STEPS = [
    f"TRAIN_STEPS = {STEPS}",
    "BATCH_SIZE = 2",
    "FRAME = (128, 128)",
    "LEARNING_RATE = 1e-2",
    "WARMUP_STEPS = 1",
    "AdamW.ema_momentum = 0.5",
    "small_neck/BatchNorm.momentum = 0.2",
    "small_head/BatchNorm.momentum = 0.2",
]
DENSE_LOSSES = ("class_loss", "box_loss")
FIND_MORE = "dense/NMS.score_threshold = 0.001"  # scores start at 0.01 and have not come far


@pytest.mark.slow
class SmallRunsTest(tf.test.TestCase):
    def check(self, name, loss_parts, *params):
        folder = Path(self.enter_context(tempfile.TemporaryDirectory()))
        job.write_data(folder)
        run = folder / "run"
        # Six of the embedded photographs: scoring all of val takes most of the time.
        params = [*job.data_params(folder), *FEW_STEPS, *params]
        flags = [f"--gin_param={param}" for param in params]
        code, out, error = job.command("train", f"--gin_file=runs/{name}.gin", "--strict", *flags, f"--model_dir={run}")
        self.assertEqual(code, 0, f"{out}\n{error}")
        self.assertIn("Frozen: backbone, because its mode is 'frozen'", out)
        self.assertIn("frozen variables are bit for bit what they were", out)
        self.assertRegex(out, r"\nAP50 +\d\.\d{3} ")
        self.assertRegex(out, r"The SavedModel, reloaded without tf_frozen, gives the same [1-9]\d* detections on 2")
        summary = json.loads((run / "summary.json").read_text())
        self.assertBetween(summary["trainable_parameters"], 5 * 10**4, 2 * 10**6)
        self.assertBetween(summary["metrics"]["AR100"], 0.0, 1.0)
        events = b"".join(path.read_bytes() for path in (run / "tensorboard").iterdir())
        for part in loss_parts:
            self.assertIn(f"train/{part}".encode(), events)
        photos = Path(resolve("embedded:neon_trees/val"))
        photo = sorted(photos.iterdir())[0]
        words = [
            "predict",
            "--model",
            run / "saved_model",
            "--images",
            photo,
            "--output",
            folder / "found",
            "--score_threshold=0",
        ]
        code, out, error = job.command(*words)
        self.assertEqual(code, 0, f"{out}\n{error}")
        rows = json.loads((folder / "found" / "predictions.json").read_text())
        self.assertNotEmpty(rows)
        self.assertEqual({row["image_id"] for row in rows}, {photo.name})
        self.assertContainsSubset({row["category_id"] for row in rows}, {job.TREE, job.SHRUB})
        self.assertTrue((folder / "found" / photo.name).is_file())

    def test_faster_rcnn_with_fpn(self):
        parts = ("rpn_score_loss", "rpn_box_loss", "class_loss", "box_loss")
        self.check("small_faster_rcnn", parts, "small_proposal/BatchNorm.momentum = 0.2")

    def test_retinanet_with_fpn(self):
        self.check("small_retinanet", DENSE_LOSSES, FIND_MORE)

    def test_efficientdet(self):
        self.check("small_efficientdet", DENSE_LOSSES, FIND_MORE, "BiFPN.repeats = 1")


if __name__ == "__main__":
    tf.test.main()
