import tensorflow as tf

from tf_frozen.evaluation import report
from tf_frozen.evaluation.metrics.coco import CocoMasks


class TableTest(tf.test.TestCase):
    def test_figures_of_more_detections_are_explained(self):
        figures = {"AP@300": 0.5, "mask_AR@300": None}
        rows = [line.split(maxsplit=2) for line in report.table(figures, meanings=CocoMasks.meanings).splitlines()]
        self.assertEqual(rows[1], ["AP@300", "0.500", "average precision with 300 boxes an image"])
        self.assertEqual(rows[2], ["mask_AR@300", "n/a", "masks: recall with 300 masks an image"])

    def test_figures_have_three_decimals_or_are_absent(self):
        lines = report.table({"AP": 0.15049, "AP50": 1.0, "APl": None, "APx": 0.0}).splitlines()
        self.assertEqual(
            [line.split()[:2] for line in lines],
            [["metric", "value"], ["AP", "0.150"], ["AP50", "1.000"], ["APl", "n/a"], ["APx", "0.000"]],
        )

    def test_columns_are_aligned_for_any_alphabet(self):
        rows = [
            {"category": "tree", "instances": 277, "AP": 0.5, "AP50": None},
            {"category": "猫", "instances": 3, "AP": 0.25, "AP50": 0.75},
            {"category": "Ba\u0308r", "instances": 12345, "AP": 0.0, "AP50": 1.0},
        ]
        block = report.table({"AP": 0.1}, rows).split("\n\n")[1]
        self.assertEqual(
            block.splitlines(),
            [
                "category  instances     AP   AP50",
                "tree            277  0.500    n/a",
                "猫                3  0.250  0.750",
                "Ba\u0308r           12345  0.000  1.000",
            ],
        )

    def test_no_classes_no_second_table(self):
        self.assertNotIn("category", report.table({"AP": 0.1}, []))


if __name__ == "__main__":
    tf.test.main()
