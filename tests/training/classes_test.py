import tempfile
from pathlib import Path

import tensorflow as tf

from tests.commands import job
from tf_frozen.data.category import Category
from tf_frozen.data.sources.coco_json import CocoJson
from tf_frozen.errors import DataError
from tf_frozen.training.classes import check_same, check_scored

TREE, SHRUB = Category(job.TREE, "tree"), Category(job.SHRUB, "shrub")


class ClassesTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = Path(self.enter_context(tempfile.TemporaryDirectory()))
        job.write_data(self.folder)
        self.data = self.read()

    def read(self):
        return CocoJson(str(self.folder / "val.json"), str(self.folder / "photos"), check="header")

    def test_the_same_classes(self):
        check_same(self.data, [TREE, SHRUB], "run/classes.json")
        with self.assertNoLogs("tf_frozen", "WARNING"):
            check_scored(self.data, [TREE, SHRUB], "train.json")

    def test_other_names_ids_order_or_number_are_refused(self):
        for other, row in (
            ([Category(7, "shrub"), Category(90, "tree")], r"\(7, 'tree'\) here, \(7, 'shrub'\) there"),
            ([Category(8, "tree"), SHRUB], r"\(7, 'tree'\) here, \(8, 'tree'\) there"),
            ([SHRUB, TREE], r"2 classes differ"),
            ([TREE], r"\(90, 'shrub'\) here, none there"),
            ([TREE, SHRUB, Category(91, "hedge")], r"none here, \(91, 'hedge'\) there"),
        ):
            with self.subTest(row), self.assertRaisesRegex(DataError, rf"(?s)val.json .*run/classes.json.*{row}"):
                check_same(self.data, other, "run/classes.json")

    def test_what_val_does_not_list_is_named_and_what_train_lacks_refused(self):
        more = [TREE, SHRUB, *(Category(100 + number, f"sort {number}") for number in range(12))]
        with self.assertLogs("tf_frozen", "WARNING") as log:
            check_scored(self.data, more, "train.json")
        (line,) = log.output
        self.assertRegex(line, "val.json lists 2 of the 14 categories of train.json.*: sort 0, .*sort 9 and 2 more")
        with self.assertRaisesRegex(DataError, r"val.json has categories \[\(90, 'shrub'\)\].* train.json has"):
            check_scored(self.data, [TREE, Category(90, "bush")], "train.json")


if __name__ == "__main__":
    tf.test.main()
