import json
import tempfile

import gin
import pytest
import tensorflow as tf

from tests.training import tiny_run
from tf_frozen.training.opening import load_run
from tf_frozen.training.run import Run


@pytest.mark.slow
class CrowdedRunTest(tf.test.TestCase):
    """Detections an image follow the data that a run starts with, and stay as many."""

    def setUp(self):
        super().setUp()
        self.addCleanup(gin.clear_config)
        self.folder = tiny_run.write(self.enter_context(tempfile.TemporaryDirectory()) + "/job")
        self.model_dir = self.folder / "run"

    def crowd(self, split, objects):
        """Gives the first image of a split that number of objects."""
        path = self.folder / f"{split}.json"
        document = json.loads(path.read_text())
        image, category = document["images"][0]["id"], document["categories"][0]["id"]
        document["annotations"] = [
            {"id": n, "image_id": image, "category_id": category, "bbox": [n % 30 * 12, n // 30 * 12, 10, 10]}
            for n in range(objects)
        ]
        path.write_text(json.dumps(document))

    def load(self, *params):
        return tiny_run.load(self.folder, self.model_dir, "DETECTIONS = @num_detections()", "TRAIN_STEPS = 1", *params)

    def test_follow_the_data_are_scored_and_stay(self):
        self.crowd("train", 150)
        self.crowd("val", 110)
        with self.assertLogs("tf_frozen", "INFO") as logs:
            self.assertTrue(self.load().train())
        said = "\n".join(logs.output)
        self.assertRegex(said, r"the most 150 in .*An image is given up to 300 detections \(DETECTIONS\)")

        self.crowd("train", 600)
        for params, expected in (((), 300), (("DETECTIONS = 400",), 400)):
            run = self.load(*params)
            self.assertEqual(run.feature_source()[1].detections, expected)
            self.assertEqual(gin.query_parameter("DETECTIONS/gin.macro.value"), expected)

        (self.folder / "train.json").unlink()
        load_run(str(self.model_dir))
        metrics = Run(str(self.model_dir)).evaluate().metrics
        line = json.loads((self.model_dir / "metrics.jsonl").read_text().splitlines()[-1])
        self.assertEqual(line["AR@300"], metrics["AR@300"])
        self.assertIn("AP@300", line)


if __name__ == "__main__":
    tf.test.main()
