"""A metric of one's own is one class, which gin or Python gives to a run, and no file of the package changes."""

import json
import pathlib
import re
import tempfile

import gin
import numpy as np
import pytest
import tensorflow as tf
from pycocotools import mask as coco_mask

from tests.commands import job
from tests.training import tiny_run
from tf_frozen.config.from_objects import gin_value
from tf_frozen.errors import ConfigError
from tf_frozen.evaluation.metric import Metric, check_metrics, evaluate_all
from tf_frozen.evaluation.metrics.coco import CocoBoxes, CocoMasks
from tf_frozen.training.parts import made_metrics


@gin.configurable
class BestMatch(Metric):
    """How well the best detection of any class covers each object."""

    names, headline = ("mean_IoU", "recall75"), "mean_IoU"
    meanings = {"mean_IoU": "IoU of the best match, mean of objects", "recall75": "objects matched at IoU 0.75"}

    def __init__(self, floor=0.0):
        self.floor = floor

    def evaluate(self, ground_truth, detections):
        names = {row["id"]: row["name"] for row in ground_truth["categories"]}
        best = {}
        for truth in ground_truth["annotations"]:
            boxes = [row["bbox"] for row in detections if row["image_id"] == truth["image_id"]]
            overlaps = coco_mask.iou(np.float64(boxes), np.float64([truth["bbox"]]), [0]) if boxes else np.zeros(1)
            best.setdefault(names[truth["category_id"]], []).append(max(np.max(overlaps), self.floor))
        rows = [{"category": name, "mean_IoU": np.mean(values)} for name, values in best.items()]
        every = np.concatenate(list(best.values()))
        return {"mean_IoU": np.mean(every), "recall75": np.mean(every >= 0.75)}, rows


@pytest.mark.slow
class RunTest(tf.test.TestCase):
    def test_trains_by_it_and_shows_it(self):
        self.addCleanup(gin.clear_config)
        folder = tiny_run.write(self.enter_context(tempfile.TemporaryDirectory()))
        (folder / "metric.gin").write_text(
            "import tests.training.metrics_test\nimport tf_frozen.evaluation\n"
            "BestMatch.floor = 0.125\nRun.metrics = [@BestMatch(), @CocoBoxes]\n"
        )
        run = tiny_run.load(folder, folder / "run", "Run.evaluate_every = 2", files=[str(folder / "metric.gin")])
        with self.assertLogs("tf_frozen", "INFO") as log:
            run.train()
        self.assertRegex("\n".join(log.output), r"step 2: mean_IoU \d\.\d{3}, recall75 \d\.\d{3}, AP \d.\d{3}, AP50")
        lines = [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
        best = json.loads((folder / "run" / "best" / "best.json").read_text())
        self.assertEqual((best["metric"], best["value"]), ("mean_IoU", max(line["mean_IoU"] for line in lines)))
        self.assertGreaterEqual(best["value"], 0.125)
        with self.subTest("the command that opens the run"):
            status, printed, errors = job.command("evaluate", f"--model_dir={folder / 'run'}")
            self.assertEqual(status, 0, errors)
            self.assertRegex(printed, r"\nmean_IoU +\d\.\d{3}  IoU of the best match, mean of objects\n")
            self.assertRegex(printed, r"\nAP50 +\d\.\d{3}  average precision at IoU 0.50\n")
            self.assertRegex(printed, r"\ncategory +mean_IoU +instances +AP +AP50\n")
        self.assertIn("mean_IoU", json.loads((folder / "run" / "metrics.json").read_text()))


class MetricsTest(tf.test.TestCase):
    def test_what_is_no_metric_and_what_gives_the_same_figures(self):
        one, two = made_metrics([BestMatch(0.5), CocoMasks])
        self.assertEqual((one.floor, two.headline), (0.5, "AP"))
        with self.assertRaisesRegex(ConfigError, "Run.metrics has {}; each must be a Metric"):
            made_metrics([dict])
        with self.assertRaisesRegex(ConfigError, "CocoBoxes and CocoMasks both give AP"):
            check_metrics([CocoBoxes(), CocoMasks()])
        with self.assertRaisesRegex(ConfigError, "CocoBoxes.headline is 'mAP'; it must be one of AP, AP50"):
            check_metrics([CocoBoxes(headline="mAP")])

    def test_figures_are_those_of_the_names_and_fit_json(self):
        class Odd(BestMatch):
            def evaluate(self, ground_truth, detections):
                return {"mean_IoU": np.float32("nan"), **detections[0]}, []

        self.assertEqual(
            evaluate_all([Odd()], {}, [{"recall75": np.float32(0.5)}]), ({"mean_IoU": None, "recall75": 0.5}, [])
        )
        with self.assertRaisesRegex(ConfigError, "Odd.evaluate gave no recall75"):
            evaluate_all([Odd()], {}, [{}])

    def test_the_metric_of_the_docs(self):
        page = pathlib.Path(__file__).parents[2] / "docs" / "python.md"
        (block,) = re.findall(
            r"(?ms)^```python\n((?:(?!^```).)*?tff\.Metric\).*?)^```", page.read_text(encoding="utf-8")
        )
        names = {"__name__": "counting"}
        self.addCleanup(lambda: gin.config._REGISTRY.pop("counting.CountError"))
        exec(block, names)
        truth = {"images": [{"id": 1}, {"id": 2}], "annotations": [{"image_id": 1}, {"image_id": 2}, {"image_id": 2}]}
        found = [{"image_id": 1, "score": 0.9}, {"image_id": 2, "score": 0.6}, {"image_id": 2, "score": 0.4}]
        self.assertEqual(evaluate_all([names["CountError"]()], truth, found), ({"exact": 0.5, "missed": 1 / 3}, []))
        self.assertEqual(evaluate_all([names["CountError"](0.3)], truth, found), ({"exact": 1.0, "missed": 0.0}, []))

    def test_metrics_of_python_are_written_as_gin(self):
        self.addCleanup(gin.clear_config)
        written = gin_value([CocoBoxes(headline="AP50"), BestMatch], "metrics", "Run.metrics")
        self.assertEqual(repr(written), "[@metrics_0/CocoBoxes(), @BestMatch]")
        self.assertEqual(gin.query_parameter("metrics_0/CocoBoxes.headline"), "AP50")

    def test_no_other_file_names_a_figure(self):
        package = pathlib.Path(__file__).parents[2] / "tf_frozen"
        rooms = ("training", "commands")
        for path in (path for room in rooms for path in (package / room).rglob("*.py")):
            self.assertNotRegex(path.read_text(encoding="utf-8"), r"""["'](mask_)?A[PR]\d*["']""", path)


if __name__ == "__main__":
    tf.test.main()
