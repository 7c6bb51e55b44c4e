import numpy as np
import tensorflow as tf

from tests.data.checks.segmentations_test import HEIGHT, SQUARE, WIDTH, ellipse, numbers, text
from tf_frozen.data.segmentations import box_mask, to_rle


class BoxMaskTest(tf.test.TestCase):
    def test_a_box_that_is_tiny_beside_its_polygon_costs_no_memory(self):
        mask = box_mask(SQUARE, [20, 30, 20.001, 30.001], HEIGHT, WIDTH, 28)
        self.assertAllEqual(mask, np.ones([28, 28]))

    def test_a_square_fills_its_box_and_half_of_another(self):
        for segmentation in (SQUARE, to_rle(SQUARE, HEIGHT, WIDTH)):
            self.assertGreater(box_mask(segmentation, [10, 20, 30, 40], HEIGHT, WIDTH, 28).mean(), 0.99)
            mask = box_mask(segmentation, [10, 20, 50, 40], HEIGHT, WIDTH, 28)
            self.assertAllEqual(mask, np.repeat([[1], [0]], 14, 0) * np.ones([28, 28]))
            self.assertEqual(mask.dtype, np.uint8)

    def test_all_formats_give_the_same_mask(self):
        angle = np.linspace(0, 2 * np.pi, 200)[:-1]
        polygon = np.stack([45 + 25 * np.cos(angle), 30 + 20 * np.sin(angle)], -1).ravel().tolist()
        box = [10.0, 20.0, 50.0, 70.0]
        y, x = (np.indices([112, 112]) + 0.5) / 56 - 1
        expected = y**2 + x**2 < 1
        for segmentation, least in (([polygon], 0.98), (text(ellipse()), 0.95), (numbers(ellipse()), 0.95)):
            mask = box_mask(segmentation, box, HEIGHT, WIDTH, 112) > 0
            self.assertGreater((mask & expected).sum() / (mask | expected).sum(), least)

    def test_parts_add_up_and_what_is_beyond_the_box_is_cut(self):
        parts = [[20, 10, 30, 10, 30, 30, 20, 30], [30, 10, 75, 10, 75, 30, 30, 30], [1, 1, 2, 2]]
        self.assertGreater(box_mask(parts, [10, 20, 30, 40], HEIGHT, WIDTH, 28).mean(), 0.99)


if __name__ == "__main__":
    tf.test.main()
