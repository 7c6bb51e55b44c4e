import numpy as np
import tensorflow as tf

from tf_frozen.data import magnification
from tf_frozen.data.augmentation.native_crops import NativeCrops
from tf_frozen.data.augmentation.scale_jitter import ScaleJitter
from tf_frozen.data.example import Example
from tf_frozen.data.magnification import MagnificationCheck
from tf_frozen.data.pipeline import TrainBatches
from tf_frozen.data.sources.image_files import ImageFiles


def example(height, width, *sides):
    boxes = np.float32([[0, 0, side, side] for side in sides]).reshape(-1, 4)
    count = len(boxes)
    return Example(0, height, width, boxes, np.ones(count, np.int32))


class OfTrainingTest(tf.test.TestCase):
    def of(self, examples, placement=None, crop=None):
        source = ImageFiles(examples, [], [""] * len(examples))
        return magnification.of_training(TrainBatches(source, (640, 640), 1, crop=crop, placement=placement))

    def test_a_set_of_tiles(self):
        found = self.of([example(128, 128, 10), example(128, 128)], ScaleJitter(0.5, 1.5))
        self.assertEqual((found["low"], found["median"], found["high"]), (2.5, 5.0, 7.5))
        self.assertEqual(found["object_side"], {"median": 50.0, "low": 50.0, "high": 50.0})

    def test_photographs_of_many_sizes_without_jitter(self):
        sizes = [(320, 160), (640, 640), (1280, 40)]
        found = self.of([example(*size) for size in sizes])
        self.assertAllClose([found["low"], found["median"], found["high"]], [0.55, 1.0, 1.9])
        self.assertNotIn("object_side", found)
        # What fits into a crop is fitted to the crop.
        self.assertEqual(self.of([example(320, 320)], crop=(160, 320))["median"], 0.5)

    def test_crops_at_native_scale(self):
        found = self.of([example(9000, 7000, 8), example(128, 128, 4)], NativeCrops(2.0, 0.75, 1.25))
        self.assertEqual((found["low"], found["median"], found["high"]), (1.5, 2.0, 2.5))
        self.assertEqual(found["object_side"]["median"], 12.0)

    def test_no_image(self):
        self.assertEqual(self.of([]), {})


class MagnificationCheckTest(tf.test.TestCase):
    def check(self, sizes, low=3.25, high=6.5, **arguments):
        check = MagnificationCheck({"low": low, "high": high}, (640, 640), **arguments)
        for number, size in enumerate(sizes):
            check.add(f"{number}.jpg", *size)
        return check.warning

    def test_says_how_many_and_which_is_the_first(self):
        warning = self.check([(128, 128), (256, 512), (100, 1000)])
        self.assertRegex(
            warning,
            r"^2 of 3 images .* The first, 1.jpg \(256 × 512\) has 1.25 frame pixels for an image pixel, training had "
            r"3.25 to 6.5: its objects appear 2.6 times smaller than any trained on",
        )
        self.assertIn("0.jpg (20 × 20) has 32 frame pixels", self.check([(20, 20)]))
        self.assertIn("appear 4.9 times larger than", self.check([(20, 20)]))

    def test_the_first_is_told_at_once_and_no_other(self):
        check = MagnificationCheck({"low": 3.25, "high": 6.5}, (640, 640))
        warned = [
            check.add(f"{number}.jpg", *size) for number, size in enumerate([(128, 128), (256, 512), (100, 1000)])
        ]
        self.assertEqual((warned[0], warned[2]), (None, None))
        self.assertRegex(warned[1], r"^1.jpg \(256 × 512\) has 1.25 .* trained on, and may be missed. Give images of")
        self.assertEqual(check.count, "2 of 3 images are shown at another magnification than those trained on")

    def test_is_silent_within_the_factor(self):
        nearest = 640 / (3.25 / magnification.FACTOR)
        self.assertIsNone(self.check([(128, 128), (int(nearest), 10), (66, 66)]))
        self.assertIsNotNone(self.check([(int(nearest) + 1, 10)]))

    def test_tiles_have_one_magnification_for_every_size(self):
        self.assertIsNone(self.check([(9000, 9000), (20, 20)], tiles=4.0))
        self.assertRegex(self.check([(9000, 9000), (20, 20)], tiles=1.0), "^2 of 2 images")

    def test_an_unknown_training_is_no_reason_to_warn(self):
        for trained in (None, {}):
            check = MagnificationCheck(trained, (640, 640))
            check.add("a.jpg", 10, 10)
            self.assertIsNone(check.warning)


if __name__ == "__main__":
    tf.test.main()
