import numpy as np
import tensorflow as tf
from official.vision.ops.spatial_transform_ops import crop_mask_in_target_box

from tf_frozen.geometry import masks as mask_ops

QUARTERS = np.float32([[[1, 2], [3, 4]]])


class CropTest(tf.test.TestCase):
    def crop(self, masks, box, target, size):
        return mask_ops.crop(tf.constant(masks), tf.constant([box]), tf.constant([target]), size)[0]

    def test_the_box_itself_gives_back_the_mask(self):
        masks = np.random.RandomState(0).uniform(size=[3, 2, 7, 7]).astype(np.float32)
        boxes = tf.constant([[[3.0, 5, 9, 80], [0, 0, 1, 1]], [[-4, 5, 3, 6], [7, 7, 14, 14]], [[1, 2, 3, 4]] * 2])
        self.assertAllClose(mask_ops.crop(masks, boxes, boxes, 7), masks, atol=1e-4)

    def test_known_places(self):
        box = [10.0, 20, 18, 28]
        for target, expected in (
            ([10.0, 20, 14, 24], [[1.0]]),  # the upper left quarter
            ([14.0, 24, 18, 28], [[4.0]]),
            ([10.0, 20, 18, 28], [[2.5]]),  # the middle of all four
            ([10.0, 20, 14, 28], [[1.5]]),
            ([8.0, 20, 12, 24], [[0.5]]),  # centred on the edge: half of it is outside
            ([0.0, 0, 6, 8], [[0.0]]),
        ):
            self.assertAllClose(self.crop(QUARTERS, box, target, 1), expected)
        self.assertAllClose(self.crop(QUARTERS, box, [6.0, 20, 14, 28], 2), [[0, 0], [1, 2]])

    def test_is_model_garden_s_half_a_cell_further(self):
        """Model Garden reads a cell's value at its upper left corner, where a convolution's lies at the centre."""
        random = np.random.RandomState(1)
        masks = (random.uniform(size=[2, 4, 16, 16]) > 0.5).astype(np.float32)
        corner, side = random.uniform(0, 50, [2, 4, 2]), random.uniform(20, 90, [2, 4, 2])
        boxes = np.concatenate([corner, corner + side], -1).astype(np.float32)
        targets = boxes + random.uniform(-12, 12, boxes.shape).astype(np.float32)
        half = np.tile((boxes[..., 2:] - boxes[..., :2]) / 16 / 2, 2)
        expected = crop_mask_in_target_box(masks, boxes, targets - half, 28, sample_offset=0.5)
        found = mask_ops.crop(masks, boxes, targets, 28)
        self.assertGreater(np.std(found), 0.2)
        self.assertAllClose(found, expected, rtol=0, atol=1e-4)

    def test_padding_gives_finite_values(self):
        for box, target in (([0.0] * 4, [0.0] * 4), ([0.0] * 4, [1.0, 2, 30, 40]), ([1.0, 2, 30, 40], [0.0] * 4)):
            self.assertAllInRange(self.crop(QUARTERS, box, target, 3), 0.0, 4.0)

    def test_masks_of_whole_numbers(self):
        self.assertAllClose(self.crop(np.uint8(QUARTERS), [0.0, 0, 2, 2], [0.0, 0, 2, 2], 2), QUARTERS[0])


class FlipTest(tf.test.TestCase):
    def test_flips_the_axes_named(self):
        for flips, expected in (
            ((False, False), [[1, 2], [3, 4]]),
            ((True, False), [[3, 4], [1, 2]]),
            ((False, True), [[2, 1], [4, 3]]),
            ((True, True), [[4, 3], [2, 1]]),
        ):
            self.assertAllEqual(mask_ops.flip(tf.constant(QUARTERS), *flips)[0], expected)


if __name__ == "__main__":
    tf.test.main()
