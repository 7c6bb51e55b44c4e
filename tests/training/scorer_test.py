import json
import tempfile
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image

from tests.commands import job
from tests.commands.train_test import events
from tf_frozen.data.sources.coco_json import CocoJson
from tf_frozen.training.scorer import Scorer, _spread


class Knows:
    """Stands in for a detector: gives the true boxes of a batch, each a little less sure than the one before."""

    finds_masks = False
    test_time_augmentation = None
    tiles = None
    detections = 300
    frame = (128, 192)  # wider than the tiles, so a part of it is padding

    def __init__(self, examples):
        count = max(len(example.boxes) for example in examples)
        self.boxes = np.zeros([len(examples), count, 4], np.float32)
        self.classes = np.zeros([len(examples), count], np.int32)
        self.count = np.array([len(example.boxes) for example in examples], np.int32)
        for place, example in enumerate(examples):
            self.boxes[place, : len(example.boxes)] = example.boxes * 128 / example.height
            self.classes[place, : len(example.boxes)] = example.classes
        self.scores = np.linspace(0.9, 0.1, count, dtype=np.float32) * (self.classes > 0)

    def __call__(self, images, image_size, training):
        del images, image_size, training
        values = {"boxes": self.boxes, "classes": self.classes, "scores": self.scores, "count": self.count}
        if self.finds_masks:
            values["masks"] = np.ones([*self.scores.shape, 28, 28], np.float32)
        return {name: tf.constant(value) for name, value in values.items()}


class ScorerTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = Path(self.enter_context(tempfile.TemporaryDirectory()))
        job.write_data(self.folder / "data")
        self.data = CocoJson(str(self.folder / "data" / "val.json"), str(self.folder / "data" / "photos"))
        self.detector = Knows(self.data.examples)
        self.model_dir = self.folder / "run"
        self.model_dir.mkdir()

    def scorer(self):
        return Scorer(self.detector, self.data, self.data.categories, self.model_dir, batch_size=2)

    def test_a_detector_that_knows_all_is_perfect_in_the_ids_of_the_data(self):
        scorer = self.scorer()
        metrics = scorer.score(step=3)
        self.assertAllClose([metrics["AP"], metrics["AP50"], metrics["AR100"]], [1, 1, 1])
        # The detector may give more than COCO counts.
        self.assertAllClose([metrics["AP@300"], metrics["AR@300"]], [1, 1])
        self.assertEqual([(row["category"], row["AP"]) for row in scorer.per_class], [("tree", 1), ("shrub", 1)])
        rows = json.loads((self.folder / "data" / "val.json").read_text())["annotations"]
        expected = sorted((row["image_id"], row["category_id"], *row["bbox"]) for row in rows)
        found = sorted((row["image_id"], row["category_id"], *row["bbox"]) for row in scorer.results)
        self.assertEqual([row[:2] for row in found], [row[:2] for row in expected])
        self.assertAllClose([row[2:] for row in found], [row[2:] for row in expected], atol=1e-3)

    def test_masks_are_scored_and_shown_where_the_detector_finds_them(self):
        path = self.folder / "data" / "val.json"
        document = json.loads(path.read_text())
        for row in document["annotations"]:
            x, y, w, h = row["bbox"]
            row["segmentation"] = [[x, y, x + w, y, x + w, y + h, x, y + h]]
        path.write_text(json.dumps(document))
        self.data = CocoJson(str(path), str(self.folder / "data" / "photos"), masks=True)
        boxes_only = self.scorer()
        self.assertNotIn("mask_AP", boxes_only.score(step=3))
        self.detector.finds_masks = True
        scorer = self.scorer()
        metrics = scorer.score(step=7)
        self.assertGreater(metrics["mask_AP"], 0.95)
        (line,) = [json.loads(text) for text in (self.model_dir / "metrics.jsonl").read_text().splitlines()[1:]]
        self.assertEqual(line, {"step": 7, "images": 2, **metrics})
        self.assertAllClose(dict(events(self.model_dir)["val/mask_AP"]), {7: metrics["mask_AP"]})
        (_, plain), (_, tinted) = boxes_only.pictures()[0], scorer.pictures()[0]
        self.assertGreater(np.mean(np.any(plain != tinted, -1)), 0.05)
        self.assertEqual([row["category"] for row in scorer.per_class if row["mask_AP"] > 0.95], ["tree", "shrub"])

    def test_a_split_that_lists_fewer_categories_is_scored_by_them(self):
        path = self.folder / "data" / "val.json"
        document = json.loads(path.read_text())
        document["categories"] = [row for row in document["categories"] if row["id"] == job.SHRUB]
        document["annotations"] = [row for row in document["annotations"] if row["category_id"] == job.SHRUB]
        path.write_text(json.dumps(document))
        known = self.data.categories
        self.data = CocoJson(str(path), str(self.folder / "data" / "photos"))
        scorer = Scorer(self.detector, self.data, known, self.model_dir, batch_size=2)
        self.assertAllClose(scorer.score(step=3)["AP"], 1)
        self.assertEqual([row["category"] for row in scorer.per_class], ["shrub"])
        self.assertEqual({row["category_id"] for row in scorer.results}, {job.SHRUB})

    def test_a_few_images_spread_over_the_split_by_one_view_of_each(self):
        self.detector.test_time_augmentation = "eight"
        self.detector.detect_once = self.detector
        scorer = self.scorer()
        few = scorer.few(1)
        self.assertEqual(
            (scorer.sample, few.sample), ("2 val images", "1 of 2 val images, without test-time augmentation")
        )
        self.assertAllClose(few.score(step=3)["AP"], 1)
        (line,) = [json.loads(text) for text in (self.model_dir / "metrics.jsonl").read_text().splitlines()]
        self.assertEqual(line["images"], 1)
        self.assertEqual({row["image_id"] for row in few.results}, {"val 0"})
        for count, places in ((3, [0, 3, 6]), (10, range(10)), (20, range(10))):
            self.assertEqual(_spread(10, count), list(places))

    def test_swapped_classes_score_nothing(self):
        self.detector.classes = np.where(self.detector.classes, 3 - self.detector.classes, 0)
        self.assertLess(self.scorer().score(step=3)["AP"], 0.1)

    def test_each_scoring_adds_a_line_and_tensorboard_events(self):
        scorer = self.scorer()
        first = scorer.score(step=3)
        self.detector.count[:] = 0
        second = self.scorer().score(step=7)
        lines = [json.loads(line) for line in (self.model_dir / "metrics.jsonl").read_text().splitlines()]
        self.assertEqual(lines, [{"step": 3, "images": 2, **first}, {"step": 7, "images": 2, **second}])
        found = events(self.model_dir)
        self.assertAllClose(dict(found["val/AP"]), {3: 1.0, 7: 0.0})
        self.assertEqual([step for step, _ in found["val/val_0000_0416"]], [3, 7])

    def test_pictures_show_what_is_likely_and_what_was_drawn_by_hand(self):
        scorer = self.scorer()
        scorer.score(step=3)
        (name, both), _ = scorer.pictures()
        self.detector.count[:] = 0
        scorer = self.scorer()
        scorer.score(step=3)
        (_, by_hand), _ = scorer.pictures()
        photo = np.asarray(Image.open(self.data.paths[0]))
        self.assertEqual((name, both.shape, both.dtype), ("val_0000_0000", photo.shape, np.uint8))
        self.assertGreater(np.abs(by_hand.astype(int) - photo).max(), 100)
        self.assertGreater(np.abs(by_hand.astype(int) - both).max(), 100)

    def test_files_of_one_name_in_two_folders_give_two_pictures(self):
        document = json.loads((self.folder / "data" / "val.json").read_text())
        for number, row in enumerate(document["images"]):
            path = self.folder / "data" / "photos" / str(number) / "photo.jpg"
            path.parent.mkdir()
            (self.folder / "data" / "photos" / row["file_name"]).rename(path)
            row["file_name"] = f"{number}/photo.jpg"
        (self.folder / "data" / "val.json").write_text(json.dumps(document))
        self.data = CocoJson(str(self.folder / "data" / "val.json"), str(self.folder / "data" / "photos"))
        scorer = self.scorer()
        scorer.score(step=3)
        self.assertEqual([name for name, _ in scorer.pictures()], ["photo_0", "photo_1"])

    def test_writes_results_and_pictures(self):
        scorer = self.scorer()
        scorer.score(step=3)
        scorer.write(self.model_dir / "predictions")
        self.assertEqual(json.loads((self.model_dir / "predictions" / "results.json").read_text()), scorer.results)
        for name, picture in scorer.pictures():
            self.assertAllEqual(Image.open(self.model_dir / "predictions" / f"{name}.png"), picture)


if __name__ == "__main__":
    tf.test.main()
