from types import SimpleNamespace

import gin
import numpy as np
import tensorflow as tf

from tests.config.toys import RUN, GinTest
from tf_frozen.config.imports import with_packages
from tf_frozen.data.category import Category
from tf_frozen.data.example import Example
from tf_frozen.data.sources.image_files import ImageFiles
from tf_frozen.detectors.tiles import Tiles
from tf_frozen.training import start_report


class LogChangesTest(GinTest):
    def changes(self, before):
        """What is logged of the present configuration against lines of an earlier one."""
        with self.assertLogs(start_report.__name__, "WARNING") as logged:
            start_report.log_changes(before)
        return logged.output[0].partition("so far:\n")[2].split("\n")

    def test_bindings_that_changed_and_no_others(self):
        self.load(f"import tf_frozen.necks\n{RUN}")
        before = with_packages(gin.config_str(max_line_length=110)).splitlines()
        with self.assertNoLogs(start_report.__name__, "WARNING"):
            start_report.log_changes(before)
        self.load(RUN, "ToyNeck.filters = 5")
        self.assertEqual(self.changes(before), ["  - ToyNeck.filters = 16", "  + ToyNeck.filters = 5"])

    def test_a_module_that_has_moved_is_no_change(self):
        self.load(f"import tf_frozen.necks\n{RUN}")
        before = ["import tf_frozen.necks.fpn", "import tf_frozen.necks.bifpn as tf_frozen2"]
        with self.assertNoLogs(start_report.__name__, "WARNING"):
            start_report.log_changes([*before, *gin.config_str(max_line_length=110).splitlines()])


class Listed(ImageFiles):
    def __str__(self):
        return "train.json"


class LogDataTest(tf.test.TestCase):
    def test_objects_are_as_large_as_the_detector_is_shown_them(self):
        boxes = np.float32([(0, 0, 20, 20), (0, 0, 40, 40)])
        data = Listed([Example(0, 400, 400, boxes, [1, 1], [False] * 2)], [Category(1, "tree")], ["0.png"])
        for tiles, small in (
            (None, "in a frame of 128 × 128  100%"),
            (Tiles(0.5), "on tiles at magnification 0.5  50%"),
        ):
            with self.subTest(small), self.assertLogs(start_report.__name__, "INFO") as logged:
                start_report.log_data(data, data, SimpleNamespace(frame=(128, 128), detections=100, tiles=tiles))
            self.assertIn(f"under 16 px {small}", logged.output[0])


class CheckTilesTest(tf.test.TestCase):
    def warning(self, tiles, sides, height=400, width=400, frame=(128, 128)):
        """What is said of one image with objects of these (height, width), and a crowd; None for nothing."""
        boxes = np.float32([(0, 0, *side) for side in (*sides, (300, 300))])
        crowd = np.arange(len(boxes)) == len(sides)
        data = Listed([Example(0, height, width, boxes, [1] * len(boxes), crowd)], [], ["0.png"])
        with self.assertLogs(start_report.__name__, "WARNING") as logged:
            start_report._LOGGER.warning("first")
            start_report.check_tiles(SimpleNamespace(frame=frame, tiles=tiles), data)
        return "".join(record.getMessage() for record in logged.records[1:]) or None

    def test_objects_that_tiles_cut_are_said_and_how_large_they_may_be(self):
        self.assertRegex(
            self.warning(Tiles(), [(20, 20)] * 18 + [(20, 29), (90, 9)]),
            "^2 of 20 objects of train.json are larger than 28 × 28 pixels, .* in parts on tiles: 25% of the frame, .* "
            "at magnification 1. Raise Tiles.overlap, up to 0.5, or FRAME, or lower MAGNIFICATION.$",
        )
        self.assertIsNotNone(self.warning(Tiles(2.0), [(20, 20)]))
        self.assertIn("28 × 60 pixels", self.warning(Tiles(), [(30, 30)], frame=(128, 256)))

    def test_few_large_ones_or_a_larger_overlap_are_no_reason_to_warn(self):
        self.assertIsNone(self.warning(Tiles(), [(20, 20)] * 19 + [(20, 29)]))
        self.assertIsNone(self.warning(Tiles(overlap=0.5), [(60, 60)]))
        self.assertIsNone(self.warning(Tiles(0.5), [(56, 56)]))
        self.assertIsNone(self.warning(None, [(300, 300)]))

    def test_where_one_tile_holds_the_image_nothing_is_cut(self):
        self.assertIsNone(self.warning(Tiles(), [(90, 90)], height=128, width=128))
        self.assertIsNone(self.warning(Tiles(), [(90, 20)], height=128))
        self.assertIsNotNone(self.warning(Tiles(), [(20, 90)], height=128))
        self.assertIsNone(self.warning(Tiles(), []))


if __name__ == "__main__":
    tf.test.main()
