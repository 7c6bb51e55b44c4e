import contextlib
import copy
import io
import json
import re
from pathlib import Path

import numpy as np
import tensorflow as tf
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

import tf_frozen
from tf_frozen.errors import DataError
from tf_frozen.evaluation import coco

NEON_VAL = Path(tf_frozen.__file__).parent / "data/embedded/neon_trees/val.json"


def small_set(boxes, **extra):
    """Ground truth of one category, `boxes` = [(image id, [x, y, w, h]), …]; images 1 and 2."""
    return {
        "images": [{"id": 1}, {"id": 2}],
        "categories": [{"id": 7, "name": "thing"}],
        "annotations": [
            {"id": number, "image_id": image, "category_id": 7, "bbox": box, **extra}
            for number, (image, box) in enumerate(boxes)
        ],
    }


def row(image, box, score, category=7):
    return {"image_id": image, "category_id": category, "bbox": box, "score": score}


def perfect(ground_truth):
    return [row(a["image_id"], a["bbox"], 0.5, a["category_id"]) for a in ground_truth["annotations"]]


def perturbed(ground_truth, seed=3):
    """Shifted boxes, some of them missed, some invented, many with the same score."""
    rng = np.random.default_rng(seed)
    rows = []
    for found in perfect(ground_truth):
        for _ in range(rng.integers(0, 3)):
            box = np.maximum(np.array(found["bbox"]) + rng.normal(0, 4, 4), 1)
            rows.append(found | {"bbox": box.tolist(), "score": round(float(rng.uniform()), 1)})
    return rows


def with_ids(entries, keys, change):
    return [entry | {key: change(entry[key]) for key in keys if key in entry} for entry in entries]


def renamed(ground_truth, change):
    return ground_truth | {
        "images": with_ids(ground_truth["images"], ["id"], change),
        "categories": with_ids(ground_truth["categories"], ["id"], change),
        "annotations": with_ids(ground_truth["annotations"], ["image_id", "category_id"], change),
    }


def crowded(ground_truth):
    """All annotations in one image, which then has 277 objects."""
    image = ground_truth["images"][0]
    annotations = [a | {"image_id": image["id"]} for a in ground_truth["annotations"]]
    return ground_truth | {"images": [image], "annotations": annotations}


def by_pycocotools(ground_truth, rows):
    return [None if value < 0 else value for value in run_pycocotools(ground_truth, rows, [1, 10, 100]).stats]


def run_pycocotools(ground_truth, rows, counted):
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = copy.deepcopy(ground_truth)
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(copy.deepcopy(rows)), "bbox")
        evaluation.params.maxDets = counted
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


class ScoreTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.neon = json.loads(NEON_VAL.read_text())

    def test_average_precision_worked_by_hand(self):
        ground_truth = small_set(
            [(1, [0, 0, 50, 50]), (1, [100, 0, 50, 50]), (2, [0, 0, 50, 50]), (2, [100, 0, 50, 50])]
        )
        rows = [
            row(1, [0, 0, 50, 50], 0.9),
            row(1, [300, 300, 50, 50], 0.8),
            row(2, [0, 0, 50, 50], 0.7),
            row(1, [100, 0, 50, 50], 0.6),
        ]
        # Right, wrong, right, right of four objects: precision 1 to recall 0.25, 3/4 to recall 0.75, then
        # 0, read at the 101 recalls 0, 0.01, …, 1: 26 of them up to 0.25, 50 more up to 0.75.
        metrics = coco.score(ground_truth, rows)
        for name in ("AP", "AP50", "AP75", "APm"):
            self.assertAllClose(metrics[name], (26 + 50 * 0.75) / 101, msg=name)
        self.assertAllClose([metrics[name] for name in ("AR1", "AR10", "AR100", "ARm")], [0.5, 0.75, 0.75, 0.75])
        self.assertEqual([metrics[name] for name in ("APs", "APl", "ARs", "ARl")], [None] * 4)

    def test_intersection_over_union_decides_at_each_threshold(self):
        metrics = coco.score(small_set([(1, [0, 0, 100, 100])]), [row(1, [0, 0, 100, 62], 1.0)])
        # IoU 0.62 is enough for the thresholds 0.50, 0.55 and 0.60 of ten.
        self.assertAllClose([metrics[name] for name in ("AP", "AP50", "AP75", "AR100", "APl")], [0.3, 1, 0, 0.3, 0.3])

    def test_equals_pycocotools_on_real_ground_truth(self):
        rows = perturbed(self.neon)
        metrics = coco.score(self.neon, rows)
        self.assertEqual(list(metrics), list(coco.METRICS))
        self.assertEqual(list(metrics.values()), by_pycocotools(self.neon, rows))
        self.assertBetween(metrics["AP"], 0.05, 0.9)
        self.assertIsNone(metrics["APl"])

    def test_perfect_boxes_score_one(self):
        metrics = coco.score(self.neon, perfect(self.neon))
        self.assertAllClose([metrics[name] for name in ("AP", "AP50", "AP75", "APs", "APm", "AR100")], [1.0] * 6)

    def test_ids_may_be_texts_or_mixed(self):
        # Boxes of equal scores count in the order of the images, which new ids change: here no two are equal.
        rows = [found | {"score": found["score"] + 1e-4 * n} for n, found in enumerate(perturbed(self.neon))]
        expected = coco.score(self.neon, rows)
        for change in (str, lambda value: str(value) if value % 2 else value):
            changed = with_ids(rows, ["image_id", "category_id"], change)
            self.assertEqual(coco.score(renamed(self.neon, change), changed), expected)

    def test_a_number_is_not_its_text(self):
        with self.assertRaisesRegex(
            DataError, r"row 0 has image_id '1', which the ground truth does not have.*like 1\)"
        ):
            coco.score(self.neon, [row("1", [0, 0, 5, 5], 0.5, 1)])

    def test_annotation_ids_do_not_matter(self):
        for ids in (range(277), [5] * 277):
            annotations = [a | {"id": i} for a, i in zip(self.neon["annotations"], ids, strict=True)]
            self.assertAllClose(coco.score(self.neon | {"annotations": annotations}, perfect(self.neon))["AP"], 1.0)

    def test_crowds_neither_count_nor_punish(self):
        ground_truth = small_set([(1, [0, 0, 50, 50]), (1, [200, 0, 200, 200])])
        rows = [row(1, [210, 10, 50, 50], 0.9), row(1, [300, 100, 50, 50], 0.8), row(1, [0, 0, 50, 50], 0.5)]
        # Two wrong boxes before the right one of two objects: precision 1/3 to recall 0.5.
        self.assertAllClose(coco.score(ground_truth, rows)["AP"], 51 / 3 / 101)
        ground_truth["annotations"][1]["iscrowd"] = 1
        metrics, classes = coco.evaluate(ground_truth, rows)
        self.assertAllClose(metrics["AP"], 1.0)
        self.assertEqual(classes[0]["instances"], 1)

    def test_sizes_are_those_of_the_annotated_area(self):
        boxes = [(1, [0, 0, 10, 10]), (1, [100, 100, 50, 50]), (2, [0, 0, 200, 200])]
        metrics = coco.score(small_set(boxes), [row(1, [0, 0, 10, 10], 0.9), row(2, [0, 0, 200, 200], 0.8)])
        self.assertAllClose([metrics[n] for n in ("APs", "APm", "APl", "ARs", "ARm", "ARl")], [1, 0, 1, 1, 0, 1])
        metrics = coco.score(small_set(boxes, area=100), [row(1, [0, 0, 10, 10], 0.9)])
        self.assertAllClose(metrics["ARs"], 1 / 3)
        self.assertIsNone(metrics["ARm"])

    def test_no_results_score_zero(self):
        metrics, classes = coco.evaluate(self.neon, [])
        zero = [name for name, value in metrics.items() if value == 0.0]
        self.assertEqual(zero, [name for name in coco.METRICS if not name.endswith("l")])
        self.assertEqual(classes, [{"category": "tree", "AP": 0.0, "AP50": 0.0, "instances": 277}])

    def test_no_ground_truth_scores_none(self):
        metrics = coco.score(small_set([]), [row(1, [0, 0, 5, 5], 0.5)])
        self.assertEqual(metrics, dict.fromkeys(coco.METRICS))
        empty = {"images": [], "categories": [], "annotations": []}
        self.assertEqual(coco.evaluate(empty, []), (dict.fromkeys(coco.METRICS), []))

    def test_only_the_100_best_boxes_of_an_image_count(self):
        boxes = [(1, [20 * n, 0, 10, 10]) for n in range(125)]
        metrics = coco.score(small_set(boxes), [row(1, box, 0.5) for _, box in boxes])
        self.assertAllClose([metrics["AR1"], metrics["AR10"], metrics["AR100"]], [1 / 125, 10 / 125, 100 / 125])
        # Precision 1 to recall 0.8, the first 81 of 101 recalls; with all boxes to recall 1.
        self.assertAllClose([metrics["AP"], metrics["AP@200"], metrics["AR@200"]], [81 / 101, 1, 1])

    def test_more_boxes_than_100_count_beside_coco_s_figures(self):
        ground_truth = crowded(self.neon)
        rows = perturbed(ground_truth)
        metrics = coco.score(ground_truth, rows)
        self.assertEqual(list(metrics), [*coco.METRICS, "AP@300", "AR@300"])
        self.assertEqual([metrics[name] for name in coco.METRICS], by_pycocotools(ground_truth, rows))
        evaluation = run_pycocotools(ground_truth, rows, [1, 10, 300])
        expected = [evaluation.eval["precision"][..., 0, 2].mean(), evaluation.eval["recall"][..., 0, 2].mean()]
        self.assertAllClose([metrics["AP@300"], metrics["AR@300"]], expected, rtol=0, atol=0)
        self.assertGreater(metrics["AP@300"], metrics["AP"] + 0.1)
        self.assertGreater(metrics["AR@300"], metrics["AR100"] + 0.1)

    def test_the_number_of_detections_that_may_be_is_that_of_the_figures(self):
        rows = perturbed(self.neon)
        metrics = coco.evaluate(self.neon, rows, detections=100)[0]
        self.assertEqual(list(metrics), list(coco.METRICS))
        more = coco.evaluate(self.neon, rows, detections=250)[0]
        self.assertEqual(more, metrics | {"AP@250": metrics["AP"], "AR@250": metrics["AR100"]})
        # No object at all, or none of a second category: neither may add a figure.
        self.assertIsNone(coco.evaluate(small_set([]), [], detections=250)[0]["AP@250"])
        two = self.neon | {"categories": [*self.neon["categories"], {"id": 99, "name": "none"}]}
        self.assertEqual(coco.evaluate(two, rows, detections=250)[0], more)

    def test_changes_and_prints_nothing(self):
        rows = perturbed(self.neon)
        ground_truth = small_set([(1, [0, 0, 50, 50])])
        before = copy.deepcopy((self.neon, rows, ground_truth))
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            coco.score(self.neon, rows)
            coco.score(ground_truth, [])
        self.assertEqual((self.neon, rows, ground_truth), before)
        self.assertEqual(printed.getvalue(), "")


class PerClassTest(tf.test.TestCase):
    def test_figures_of_the_only_category_are_those_of_the_whole(self):
        neon = json.loads(NEON_VAL.read_text())
        metrics, classes = coco.evaluate(neon, perturbed(neon))
        self.assertAllClose([classes[0]["AP"], classes[0]["AP50"]], [metrics["AP"], metrics["AP50"]])

    def test_each_category_has_its_own_figures(self):
        ground_truth = small_set([(1, [0, 0, 50, 50]), (2, [0, 0, 50, 50])])
        ground_truth["categories"] = [
            {"id": 7, "name": "thing"},
            {"id": 3, "name": "other"},
            {"id": 5, "name": "none"},
        ]
        ground_truth["annotations"][1]["category_id"] = 3
        rows = [row(1, [0, 0, 50, 50], 0.9), row(2, [0, 0, 50, 31], 0.9, category=3)]
        metrics, classes = coco.evaluate(ground_truth, rows)
        self.assertEqual([c["category"] for c in classes], ["other", "none", "thing"])
        self.assertEqual([c["instances"] for c in classes], [1, 0, 1])
        self.assertEqual(classes[1], {"category": "none", "AP": None, "AP50": None, "instances": 0})
        self.assertAllClose([classes[0]["AP"], classes[0]["AP50"], classes[2]["AP"]], [0.3, 1.0, 1.0])
        self.assertAllClose(metrics["AP"], 0.65)
        self.assertEqual(coco.per_class(ground_truth, rows), classes)


class FaultsTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.ground_truth = small_set([(1, [0, 0, 50, 50])])
        self.good = row(1, [0, 0, 5, 5], 0.5)

    def fault_of(self, changed):
        with self.assertRaises(DataError) as caught:
            coco.score(self.ground_truth, [self.good, changed])
        self.assertLen(caught.exception.faults, 1)
        return str(caught.exception)

    def test_rows_are_named_with_their_number_and_value(self):
        cases = [
            ({"image_id": 99}, "image_id 99"),
            ({"image_id": [1]}, "image_id [1]"),
            ({"image_id": 1.0}, "image_id 1.0"),
            ({"image_id": 10**400}, "image_id 1000"),
            ({"category_id": 7.5}, "category_id 7.5"),
            ({"bbox": [1, 2, 10**309, 4]}, "bbox [1, 2, 1000"),
            ({"bbox": [1, 2, 1e300, 4]}, "bbox [1, 2, 1e+300, 4]"),
            ({"score": 10**309}, "score 1000"),
            ({"image_id": None}, "image_id None"),
            ({"image_id": True}, "image_id True"),
            ({"category_id": "cat"}, "category_id 'cat'"),
            ({"bbox": [1, 2, 3]}, "bbox [1, 2, 3]"),
            ({"bbox": [1, 2, 3, float("nan")]}, "bbox [1, 2, 3, nan]"),
            ({"bbox": [1, 2, 3, "4"]}, "bbox [1, 2, 3, '4']"),
            ({"bbox": None}, "bbox None"),
            ({"bbox": [1, 2, -3, 4]}, "bbox [1, 2, -3, 4]"),
            ({"score": "high"}, "score 'high'"),
            ({"score": float("inf")}, "score inf"),
        ]
        for change, named in cases:
            self.assertRegex(self.fault_of(self.good | change), rf"row 1 has {re.escape(named)}[^ ]*, ")

    def test_rows_without_a_key_or_of_another_kind(self):
        without = {key: value for key, value in self.good.items() if key != "score"}
        self.assertIn("row 1 has no score", self.fault_of(without))
        self.assertIn("row 1 is [1, 2, 3]", self.fault_of([1, 2, 3]))

    def test_all_faults_are_kept_and_twenty_shown(self):
        with self.assertRaises(DataError) as caught:
            coco.score(self.ground_truth, [self.good | {"image_id": n} for n in range(30, 60)])
        self.assertLen(caught.exception.faults, 30)
        self.assertIn("row 19 has image_id 49", str(caught.exception))
        self.assertNotIn("row 20 ", str(caught.exception))
        self.assertIn("and 10 more", str(caught.exception))

    def test_wrong_structure(self):
        for wrong in (
            [],
            {},
            {"images": [], "annotations": []},
            {"images": {}, "annotations": [], "categories": []},
        ):
            with self.assertRaisesRegex(DataError, "lists images, annotations and categories"):
                coco.score(wrong, [])
        for wrong in ({"annotations": []}, None, "rows"):
            with self.assertRaisesRegex(DataError, "must be a list of rows"):
                coco.score(self.ground_truth, wrong)

    def test_ground_truth_faults(self):
        annotation = self.ground_truth["annotations"][0] | {"id": "a7"}
        cases = [
            ({"annotations": [annotation | {"image_id": 3}]}, r"annotations\[0\] has image_id 3"),
            ({"annotations": [annotation | {"bbox": []}]}, r"annotations\[0\] has bbox \[\]"),
            ({"annotations": [annotation | {"area": "big"}]}, r"annotations\[0\] \(id 'a7'\) has area 'big'"),
            ({"annotations": [annotation | {"iscrowd": 2}]}, r"annotations\[0\] \(id 'a7'\) has iscrowd 2"),
            ({"images": [{"id": 1}, {"id": 1}]}, r"images\[1\] has the id 1 of an earlier one"),
            ({"images": [{"id": 1}, {"name": "x"}]}, r"images\[1\] is {'name': 'x'}, which has no id"),
            (
                {"categories": [{"id": 7, "name": "\ud83d"}]},
                r"categories\[0\] has the name '.ud83d', which is not valid",
            ),
            ({"categories": [{"id": 7}, "tree"]}, r"categories\[1\] is 'tree'"),
        ]
        for change, message in cases:
            with self.assertRaisesRegex(DataError, message):
                coco.score(self.ground_truth | change, [])


if __name__ == "__main__":
    tf.test.main()
