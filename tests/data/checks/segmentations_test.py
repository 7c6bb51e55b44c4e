import numpy as np
import tensorflow as tf
from pycocotools import mask as coco_mask

from tf_frozen.data.checks.segmentations import check_segmentation, wrong_format
from tf_frozen.data.segmentations import to_rle

HEIGHT, WIDTH = 60, 80
SQUARE = [[20, 10, 40, 10, 40, 30, 20, 30]]  # x, y of the corners
BOX = [20, 10, 20, 20]


def ellipse(height=HEIGHT, width=WIDTH, center=(30, 45), radii=(20, 25)):
    y, x = np.indices([height, width]) + 0.5
    inside = ((y - center[0]) / radii[0]) ** 2 + ((x - center[1]) / radii[1]) ** 2 < 1
    return np.asfortranarray(inside, np.uint8)


def text(mask):
    rle = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    return {**rle, "counts": rle["counts"].decode()}


def numbers(mask):
    """Uncompressed run lengths: of zeros first, column by column."""
    flat = np.concatenate([[0], mask.ravel(order="F"), [2]])
    edges = np.flatnonzero(np.diff(flat))
    runs = np.diff(np.concatenate([[0], edges]))
    return {"size": [HEIGHT, WIDTH], "counts": runs.tolist()}


class FormatTest(tf.test.TestCase):
    def test_what_coco_and_lvis_hold_is_usable(self):
        shape = ellipse()
        for segmentation in (SQUARE, [*SQUARE, [1, 2, 3, 4]], text(shape), numbers(shape), coco_mask.encode(shape)):
            if isinstance(segmentation, dict):
                segmentation["size"] = list(segmentation["size"])
            self.assertIsNone(wrong_format(segmentation, HEIGHT, WIDTH), segmentation)

    def test_random_run_lengths_are_read_as_pycocotools_wrote_them(self):
        random = np.random.RandomState(0)
        for density in (0.0, 0.002, 0.05, 0.5, 1.0):
            for height, width in ((1, 1), (7, 300), (431, 517)):
                mask = random.uniform(size=[height, width]) < density
                self.assertIsNone(wrong_format(text(mask), height, width), (density, height, width))

    def test_each_fault_is_named(self):
        good = text(ellipse())
        short = numbers(ellipse())
        short["counts"] = short["counts"][:-1]
        for wrong, message in (
            ("abc", "neither a list of polygons nor"),
            ([[1, 2, 3]], "neither a list of polygons nor"),
            ([[1, 2, 3, None, 5, 6]], "neither a list of polygons nor"),
            ([[1, 2, float("nan"), 4, 5, 6]], "neither a list of polygons nor"),
            ([1, 2, 3, 4, 5, 6], "neither a list of polygons nor"),
            ([[1, 2, 3, 4]], "no polygon .* has three corners"),
            ({**good, "size": [HEIGHT]}, "'size' is not"),
            ({**good, "size": [WIDTH, HEIGHT]}, "60 px wide and 80 high, its image 80 and 60"),
            ({**good, "counts": good["counts"][:-1]}, "do not make up 80 x 60 px"),
            ({**good, "counts": good["counts"] + "1"}, "do not make up 80 x 60 px"),
            ({**good, "counts": "zzz"}, "do not make up"),
            ({**good, "counts": "ä"}, "do not make up"),
            ({**good, "counts": "\ud83d"}, "do not make up"),
            ([[1, 2, 3, 4, 1e8, 6]], r"reaches \(1e\+08, 6\), far beyond the image, 80 px wide and 60 high"),
            ([[1, 2, -81, 4, 5, 6]], "far beyond the image"),
            ([[0, 0, 80, 60, 0, 60, 80, 0] * 60], "outline is .* px long"),
            ({**good, "counts": ""}, "do not make up"),
            ({**good, "counts": [-1, HEIGHT * WIDTH + 1]}, "do not make up"),
            ({**good, "counts": ["1"]}, "do not make up"),
            ({"size": good["size"]}, "do not make up"),
            (short, "do not make up"),
        ):
            self.assertRegex(str(wrong_format(wrong, HEIGHT, WIDTH)), message, wrong)


class CheckTest(tf.test.TestCase):
    def test_a_segmentation_must_lie_in_its_box(self):
        self.assertIsNone(check_segmentation(SQUARE, BOX, HEIGHT, WIDTH))
        self.assertIsNone(check_segmentation(text(ellipse()), BOX, HEIGHT, WIDTH))
        for segmentation in (SQUARE, text(ellipse())):
            problem = check_segmentation(segmentation, [70, 50, 5, 5], HEIGHT, WIDTH)
            self.assertEqual(problem.kind, "segmentation_outside_box")

    def test_kinds(self):
        for segmentation, kind in ((None, "missing"), ([], "missing"), ([[]], "malformed"), ("x", "malformed")):
            self.assertEqual(check_segmentation(segmentation, BOX, HEIGHT, WIDTH).kind, f"{kind}_segmentation")

    def test_sizes_that_are_not_known_are_not_checked(self):
        self.assertIsNone(check_segmentation(text(ellipse()), BOX, None, None))

    def test_an_empty_mask(self):
        line, speck = [[10, 10, 20, 20, 40, 40]], [[10.1, 10.1, 10.2, 10.1, 10.2, 10.3]]
        sliver = [[10, 10.1, 70, 10.1, 70, 10.3, 10, 10.3]]
        for segmentation in (line, speck, sliver):
            self.assertEqual(coco_mask.area(to_rle(segmentation, HEIGHT, WIDTH)), 0)
            problem = check_segmentation(segmentation, [5, 5, 70, 50], HEIGHT, WIDTH)
            self.assertEqual(problem, ("malformed_segmentation", "the segmentation covers no pixel"))
            self.assertIsNone(check_segmentation([*segmentation, *SQUARE], [5, 5, 70, 50], HEIGHT, WIDTH))
        self.assertIsNone(check_segmentation([[10, 10, 11, 10, 11, 11, 10, 11]], [10, 10, 1, 1], HEIGHT, WIDTH))


if __name__ == "__main__":
    tf.test.main()
