"""Mask R-CNN from annotated photographs to predictions, through the command line in this process."""

import json
import pathlib
import tempfile

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.commands import job
from tests.evaluation.mask_scores_test import ellipse
from tf_frozen.data.segmentations import to_rle
from tf_frozen.export.masks import from_rle

SMALL_MASKS = """
TRAIN_STEPS = 6
small_mask/BatchNorm.momentum = 0.5
MaskHead.convs = 1
MaskHead.filters = 8
MaskHead.samples = 8
box/NMS.score_threshold = 0.01
box/NMS.detections = 10
"""


def write_job(folder):
    """The small job, whose trees have the ellipses in their boxes for masks; the first of each file as run lengths."""
    job.write_data(folder)
    for split in ("train", "val"):
        path = pathlib.Path(folder, f"{split}.json")
        document = json.loads(path.read_text())
        for row in document["annotations"]:
            row["segmentation"] = ellipse(*row["bbox"])
        size = {image["id"]: (image["height"], image["width"]) for image in document["images"]}
        first = document["annotations"][0]
        rle = to_rle(first["segmentation"], *size[first["image_id"]])
        first["segmentation"] = {**rle, "counts": rle["counts"].decode()}
        path.write_text(json.dumps(document))
    pathlib.Path(folder, "small.gin").write_text(job.SMALL + SMALL_MASKS)


@pytest.mark.slow
class MaskJobTest(tf.test.TestCase):
    def test_trains_scores_exports_and_predicts(self):
        folder = pathlib.Path(self.enter_context(tempfile.TemporaryDirectory()))
        write_job(folder)
        files = ["runs/train_masks_on_coco_json.gin", folder / "small.gin"]
        words = [*(f"--gin_file={file}" for file in files), *(f"--gin_param={p}" for p in job.data_params(folder))]
        code, output, errors = job.command("train", *words, "--strict", f"--model_dir={folder / 'run'}")
        self.assertEqual(code, 0, errors)
        self.assertRegex(output + errors, "mask_AP50 .* masks: average precision at IoU 0.50")
        self.assertRegex(output + errors, "reloaded without tf_frozen, gives the same .* masks within ")
        self.check_scores(folder)
        self.check_predictions(folder)

    def check_scores(self, folder):
        *_, metrics = map(json.loads, (folder / "run" / "metrics.jsonl").read_text().splitlines())
        results = folder / "run" / "predictions" / "results.json"
        code, output, errors = job.command(
            "score", "--annotations", folder / "val.json", "--results", results, "--masks", "--json"
        )
        self.assertEqual(code, 0, errors)
        self.assertEqual({"step": 6, "images": 2, **json.loads(output)["metrics"]}, metrics)
        self.assertIn("mask_AR100", metrics)
        summary = json.loads((folder / "run" / "summary.json").read_text())
        self.assertEqual(summary["metrics"]["mask_AP"], metrics["mask_AP"])
        rows = json.loads(results.read_text())
        self.assertNotEmpty(rows)
        filled = []
        for row in rows:
            mask, (x, y, w, h) = from_rle(row["segmentation"]), row["bbox"]
            filled.append(mask.sum() / (w * h))
            if mask.any():
                rows_of, columns_of = np.nonzero(mask)
                self.assertAllInRange(rows_of, np.floor(y), np.ceil(y + h) - 1)
                self.assertAllInRange(columns_of, np.floor(x), np.ceil(x + w) - 1)
        self.assertGreater(max(filled), 0.0)

    def check_predictions(self, folder):
        out = folder / "predictions"
        photo = next((folder / "photos").glob("val_*.jpg"))
        code, _, errors = job.command(
            "predict", "--model", folder / "run", "--images", photo, "--output", out, "--score_threshold", "0",
            "--annotations", folder / "val.json",
        )  # fmt: skip
        self.assertEqual(code, 0, errors)
        rows = json.loads((out / "predictions.json").read_text())
        scored = json.loads((folder / "run" / "predictions" / "results.json").read_text())
        scored = [row for row in scored if row["image_id"] == rows[0]["image_id"]]
        self.assertLen(rows, len(scored))
        for ours, theirs in zip(*(sorted(r, key=lambda row: -row["score"]) for r in (rows, scored)), strict=True):
            self.assertAllClose(ours["score"], theirs["score"], atol=1e-4)
            masks = [from_rle(row["segmentation"]) for row in (ours, theirs)]
            self.assertEqual(masks[0].shape, np.asarray(Image.open(photo)).shape[:2])
            self.assertLess(np.mean(masks[0] != masks[1]), 1e-3)


if __name__ == "__main__":
    tf.test.main()
