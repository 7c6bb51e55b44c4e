import contextlib
import copy
import io
import json

import numpy as np
import tensorflow as tf
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from tests.evaluation.coco_test import NEON_VAL
from tf_frozen.errors import DataError
from tf_frozen.evaluation import coco, report
from tf_frozen.evaluation.metrics.coco import CocoMasks
from tf_frozen.export.masks import to_rles


def ellipse(x, y, w, h, corners=24):
    angle = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    return [np.stack([x + w / 2 * (1 + np.cos(angle)), y + h / 2 * (1 + np.sin(angle))], -1).ravel().round(2).tolist()]


def with_ellipses(ground_truth):
    """The real boxes, each with the ellipse in it for a mask."""
    rows = [{**row, "segmentation": ellipse(*row["bbox"])} for row in ground_truth["annotations"]]
    return {**ground_truth, "annotations": rows}


def found(ground_truth, seed=3):
    """Some masks of full boxes and some of ellipses, moved a little, with different scores."""
    rng = np.random.default_rng(seed)
    sizes = {image["id"]: (image["height"], image["width"]) for image in ground_truth["images"]}
    cells = (np.arange(28) + 0.5) / 14 - 1
    round_mask = (cells[:, np.newaxis] ** 2 + cells**2 < 1).astype(np.float32)
    rows = []
    for number, row in enumerate(ground_truth["annotations"]):
        x, y, w, h = np.maximum(np.array(row["bbox"]) + rng.normal(0, 2, 4), 1)
        mask = np.ones([28, 28]) if number % 3 == 0 else round_mask
        (rle,) = to_rles([mask], [[y, x, y + h, x + w]], *sizes[row["image_id"]])
        box = {"image_id": row["image_id"], "category_id": 1, "bbox": [x, y, w, h], "segmentation": rle}
        rows.append(box | {"score": rng.uniform()})
    return rows


def by_pycocotools(ground_truth, rows, kind="segm"):
    """As people do who score masks: without the boxes, whose area pycocotools would take for the masks'."""
    rows = [{key: value for key, value in row.items() if key != "bbox"} for row in copy.deepcopy(rows)]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = copy.deepcopy(ground_truth)
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(rows), kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return [None if value < 0 else value for value in evaluation.stats]


class MaskScoresTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.truth = with_ellipses(json.loads(NEON_VAL.read_text()))
        self.rows = found(self.truth)

    def test_equals_pycocotools_and_leaves_the_boxes_figures_alone(self):
        before = copy.deepcopy((self.truth, self.rows))
        metrics = coco.score(self.truth, self.rows, masks=True)
        self.assertEqual([*metrics], [*coco.METRICS, *coco.MASK_METRICS])
        self.assertEqual([metrics[name] for name in coco.MASK_METRICS], by_pycocotools(self.truth, self.rows))
        self.assertEqual({name: metrics[name] for name in coco.METRICS}, coco.score(self.truth, self.rows))
        self.assertBetween(metrics["mask_AP"], 0.1, metrics["AP"] - 0.01)
        self.assertEqual((self.truth, self.rows), before)

    def test_rows_without_boxes_score_as_in_pycocotools(self):
        def without_boxes(rows, **others):
            return [{key: value for key, value in row.items() if key != "bbox"} | others for row in rows]

        expected = coco.score(self.truth, self.rows, masks=True)
        truth = {**self.truth, "annotations": without_boxes(self.truth["annotations"])}
        for rows in (without_boxes(self.rows), without_boxes(self.rows, bbox=[]), without_boxes(self.rows, bbox=None)):
            metrics = coco.score(self.truth, rows, masks=True)
            self.assertEqual([metrics[name] for name in coco.METRICS], by_pycocotools(self.truth, rows, "bbox"))
            for name in coco.MASK_METRICS:
                self.assertEqual(metrics[name], expected[name])
                self.assertEqual(coco.score(truth, rows, masks=True)[name], expected[name])
        with self.assertRaisesRegex(DataError, "row 0 has no bbox"):
            coco.score(self.truth, without_boxes(self.rows))

    def test_run_lengths_of_the_truth_score_as_its_polygons(self):
        coded = COCO()
        coded.imgs = {image["id"]: image for image in self.truth["images"]}
        rows = []
        for row in self.truth["annotations"]:
            rle = coded.annToRLE(row)
            rows.append({**row, "segmentation": {**rle, "counts": rle["counts"].decode()}})
        self.assertEqual(
            coco.score({**self.truth, "annotations": rows}, self.rows, masks=True),
            coco.score(self.truth, self.rows, masks=True),
        )

    def test_each_class_has_figures_of_its_masks(self):
        metrics, (row,) = coco.evaluate(self.truth, self.rows, masks=True)
        self.assertAllClose(
            [row[name] for name in ("mask_AP", "mask_AP50", "AP")],
            [metrics[name] for name in ("mask_AP", "mask_AP50", "AP")],
        )
        text = report.table(metrics, [row], CocoMasks.meanings)
        self.assertIn("masks: recall with 10 masks an image", text)
        self.assertIn(
            ["category", "instances", "AP", "AP50", "mask_AP", "mask_AP50"], map(str.split, text.splitlines())
        )

    def test_a_missing_area_is_the_mask_s(self):
        rows = [{key: value for key, value in row.items() if key != "area"} for row in self.truth["annotations"]]
        without = {**self.truth, "annotations": rows}
        areas = [np.pi / 4 * row["bbox"][2] * row["bbox"][3] for row in rows]
        explicit = [{**row, "area": area} for row, area in zip(rows, areas, strict=True)]
        self.assertAllClose(
            coco.score(without, self.rows, masks=True)["mask_APs"],
            coco.score({**self.truth, "annotations": explicit}, self.rows, masks=True)["mask_APs"],
            atol=0.02,
        )
        self.assertEqual(coco.score(without, self.rows)["APs"], coco.score(self.truth, self.rows)["APs"])

    def test_what_can_not_be_scored_is_listed(self):
        no_mask = [{key: value for key, value in row.items() if key != "segmentation"} for row in self.rows]
        small = {**self.rows[0]["segmentation"], "size": [10, 10]}
        plain = json.loads(NEON_VAL.read_text())
        no_size = {**self.truth, "images": [{"id": image["id"]} for image in self.truth["images"]]}
        for truth, rows, message in (
            (self.truth, no_mask, "row 0 has no segmentation, which scoring masks needs"),
            (self.truth, [{**self.rows[0], "segmentation": small}], "row 0 can't be read: .* 10 px wide and 10 high"),
            (self.truth, [{**self.rows[0], "segmentation": "x"}], "row 0 can't be read: .*neither a list of polygons"),
            (
                self.truth,
                [{**self.rows[0], "segmentation": [[1, 2, 3, 4, 1e8, 6]]}],
                "row 0 can't be read: .*far beyond",
            ),
            (plain, self.rows, r"277 fault\(s\) in the ground truth .*\n.*annotations\[0\] .* has no segmentation"),
            (no_size, self.rows, r"9 fault\(s\) .*\n.*images\[0\] has no height and width"),
        ):
            with self.assertRaisesRegex(DataError, message):
                coco.score(truth, rows, masks=True)

    def test_nothing_found_scores_nothing(self):
        self.assertEqual(coco.score(self.truth, [], masks=True)["mask_AP"], 0.0)


if __name__ == "__main__":
    tf.test.main()
