import numpy as np
import tensorflow as tf

from tf_frozen.data.augmentation.native_crops import NativeCrops
from tf_frozen.errors import ConfigError
from tf_frozen.geometry.resample import PADDING

CROP = (32, 48)
BOXES = np.float32([[10, 20, 18, 32], [150, 100, 158, 112]])


def field(height, width):
    """Pixels of the padding's colour, and in BOXES 100 more."""
    picture = np.tile(np.float32(PADDING), [height, width, 1])
    for y1, x1, y2, x2 in BOXES.astype(int):
        picture[y1:y2, x1:x2] += 100.0
    return picture


class NativeCropsTest(tf.test.TestCase):
    def draws(self, count, height=200, width=160, boxes=BOXES, **arguments):
        crops, picture = NativeCrops(**arguments), field(height, width)
        for number in range(count):
            placed = crops(picture, {"boxes": tf.constant(boxes)}, (640, 640), CROP, tf.constant([3, number]))
            framed, objects, stay, size, scale = placed
            yield framed.numpy(), objects["boxes"].numpy(), stay.numpy(), size.numpy(), float(scale)

    def test_objects_keep_their_size_whatever_the_size_of_the_image(self):
        for height, width in ((200, 160), (900, 300)):
            whole = 0
            for framed, boxes, stay, size, scale in self.draws(
                20, height, width, magnification=0.5, minimum=1.0, maximum=1.0, on_object=1.0
            ):
                self.assertEqual(scale, 0.5)
                self.assertAllEqual(size, CROP)
                self.assertTrue(stay.any())
                for y1, x1, y2, x2 in boxes[stay]:
                    self.assertLessEqual((y2 - y1) * (x2 - x1), 4 * 6 + 1e-3)
                    whole += np.allclose([y2 - y1, x2 - x1], [4, 6])
                marker = (framed - np.float32(PADDING)).mean(-1).sum() / 100
                self.assertAllClose(marker, np.sum(np.prod(boxes[:, 2:] - boxes[:, :2], 1)), atol=1.5)
            self.assertGreater(whole, 10)

    def test_pixels_at_magnification_1_are_those_of_the_image(self):
        for framed, boxes, stay, _, _ in self.draws(5, minimum=1.0, maximum=1.0, on_object=1.0):
            marker = np.zeros(CROP, bool)
            for y1, x1, y2, x2 in boxes[stay].astype(int):
                marker[y1:y2, x1:x2] = True
            visible = (framed - np.float32(PADDING)).mean(-1)
            self.assertAllClose(visible[marker], np.full(marker.sum(), 100.0))

    def test_scales_are_spread_evenly_between_the_limits(self):
        scales = [scale for *_, scale in self.draws(200, magnification=2.0, minimum=0.8, maximum=1.25)]
        self.assertAllInRange(scales, 1.6, 2.5)
        self.assertAllClose(np.median(scales), 2.05, atol=0.06)

    def test_as_many_crops_as_asked_are_placed_on_an_object(self):
        for on_object, least, most in ((0.0, 0.0, 0.2), (0.5, 0.4, 0.65), (1.0, 1.0, 1.0)):
            found = [stay.any() for _, _, stay, _, _ in self.draws(60, 2000, 1500, on_object=on_object)]
            self.assertBetween(np.mean(found), least, most)

    def test_an_image_smaller_than_the_crop_is_padded(self):
        for framed, boxes, stay, size, _ in self.draws(3, 20, 40, BOXES[:1], minimum=1.0, maximum=1.0):
            self.assertAllEqual(size, [20, 40])
            self.assertAllClose(framed[:20, :40], field(20, 40))
            self.assertAllClose(framed[20:], np.broadcast_to(PADDING, framed[20:].shape))
            self.assertAllClose(boxes[stay], BOXES[:1])

    def test_an_image_without_objects(self):
        for _, boxes, stay, _, _ in self.draws(3, boxes=np.zeros([0, 4], np.float32), on_object=1.0):
            self.assertEqual((boxes.shape, stay.shape), ((0, 4), (0,)))

    def test_an_impossible_argument_is_explained(self):
        for arguments, words in (
            ({"magnification": 0}, "NativeCrops.magnification is 0; it must be a finite number above 0"),
            ({"minimum": 2.0, "maximum": 1.0}, "NativeCrops.minimum is 2.0 and its maximum 1.0"),
            ({"on_object": 1.5}, "NativeCrops.on_object is 1.5; it must be a number from 0 to 1"),
        ):
            with self.assertRaisesRegex(ConfigError, words):
                NativeCrops(**arguments)


if __name__ == "__main__":
    tf.test.main()
