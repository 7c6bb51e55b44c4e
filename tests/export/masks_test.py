import numpy as np
import tensorflow as tf
from official.vision.ops.mask_ops import paste_instance_masks_v2

from tf_frozen.export.masks import from_rle, paste, to_rles


class PasteTest(tf.test.TestCase):
    def test_a_full_mask_covers_the_pixels_whose_centres_the_box_holds(self):
        for box, rows, columns in (
            ([2, 3, 6, 9], (2, 6), (3, 9)),
            ([2.4, 3.6, 6.4, 9.6], (2, 6), (4, 10)),
            ([-4, -4, 100, 100], (0, 10), (0, 12)),
            ([7, 8, 13, 15], (7, 10), (8, 12)),
        ):
            expected = np.zeros([10, 12], np.uint8)
            expected[slice(*rows), slice(*columns)] = 1
            # So fine that its edge, where it is read half from the outside, is of no width.
            self.assertAllEqual(paste(np.ones([200, 200]), box, 10, 12), expected, box)

    def test_boxes_beyond_the_image_and_without_area_cover_nothing(self):
        for box in ([-9, 0, -2, 5], [0, -9, 5, -2], [20, 0, 30, 5], [0, 20, 5, 30], [3, 3, 3, 3], [0, 0, 0, 0]):
            self.assertEqual(paste(np.ones([28, 28]), box, 10, 12).sum(), 0, box)

    def test_rows_and_columns_keep_their_places(self):
        mask = np.float32([[1, 0], [0, 0]])
        self.assertAllEqual(np.argwhere(paste(mask, [0, 2, 4, 6], 8, 8)).mean(0), [0.5, 2.5])

    def test_is_model_garden_s(self):
        random = np.random.RandomState(0)
        coarse = random.uniform(size=[12, 7, 7])
        masks = tf.image.resize(coarse[..., np.newaxis], [28, 28], "bicubic")[..., 0].numpy()
        corner, side = random.uniform(-20, 80, [12, 2]), random.uniform(15, 90, [12, 2])
        boxes = np.concatenate([corner, corner + side], -1)
        expected = paste_instance_masks_v2(masks, np.concatenate([corner[:, ::-1], side[:, ::-1]], -1), 100, 120)
        found = np.stack([paste(*row, 100, 120) for row in zip(masks, boxes, strict=True)])
        # OpenCV reads at 32nds of a cell, so that a pixel in a thousand falls to the other side of a half.
        self.assertBetween(found.mean(), 0.05, 0.5)
        self.assertLess(np.mean(found != expected), 1e-3)

    def test_run_lengths_and_back(self):
        masks, boxes = np.random.RandomState(1).uniform(size=[3, 4, 4]), np.float32([[1, 2, 30, 40]] * 3)
        for mask, box, rle in zip(masks, boxes, to_rles(masks, boxes, 50, 60), strict=True):
            self.assertEqual((rle["size"], type(rle["counts"])), ([50, 60], str))
            self.assertAllEqual(from_rle(rle), paste(mask, box, 50, 60) > 0)


if __name__ == "__main__":
    tf.test.main()
