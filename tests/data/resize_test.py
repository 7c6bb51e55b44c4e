"""Tests of data/resize.py."""

import numpy as np
import tensorflow as tf

from tf_frozen.data.resize import fit
from tf_frozen.geometry.resample import PADDING


def _ramp(height: int, width: int) -> np.ndarray:
    """An image whose red is the y and whose green is the x coordinate of each pixel's centre."""
    y, x = np.meshgrid(np.arange(height) + 0.5, np.arange(width) + 0.5, indexing="ij")
    return np.stack([y, x, np.zeros_like(x)], axis=-1).astype(np.float32)


class FitTest(tf.test.TestCase):
    def test_image_of_the_frames_size_is_untouched(self):
        image = np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8)
        frame, size, scale = fit(image, (24, 40))
        self.assertAllEqual(frame, image.astype(np.float32))
        self.assertAllEqual(size, [24, 40])
        self.assertEqual(scale, 1)

    def test_an_image_never_ends_beyond_the_frame(self):
        heights = np.arange(1, 2000, dtype=np.float32)
        (height, *_) = heights[heights * (np.float32(320) / heights) > 320]
        _, size, _ = fit(np.zeros([int(height), 1, 3], np.uint8), (320, 320))
        self.assertAllLessEqual(size, 320)

    def test_pads_at_the_bottom_or_on_the_right(self):
        white = np.full((10, 20, 3), 255, np.uint8)
        wide, size, _ = fit(white, (20, 20))
        self.assertAllEqual(wide[:10], np.full((10, 20, 3), 255))
        self.assertAllEqual(wide[10:], np.broadcast_to(np.float32(PADDING), (10, 20, 3)))
        self.assertAllEqual(size, [10, 20])
        tall, size, _ = fit(white.transpose(1, 0, 2), (20, 20))
        self.assertAllEqual(tall, tf.transpose(wide, [1, 0, 2]))
        self.assertAllEqual(size, [20, 10])

    def test_a_frame_pixel_shows_its_centre_divided_by_the_scale(self):
        # 30 x 47 into 64 x 64: the scale 64 / 47 makes the height 40.85 pixels, which no axis may round.
        image = _ramp(30, 47)
        frame, size, scale = fit(image, (64, 64))
        self.assertAllClose(scale, 64 / 47)
        self.assertAllClose(size, [30 * 64 / 47, 64])
        expected = _ramp(64, 64) / (64 / 47)
        self.assertAllClose(frame[2:38, 2:61, :2], expected[2:38, 2:61, :2], atol=1e-4)

    def test_a_shrunken_box_lies_where_the_scale_says(self):
        image = np.zeros((100, 150, 3), np.uint8)
        image[30:70, 60:120] = 255
        frame, _, scale = fit(image, (40, 40))
        ink = frame[:26, :, 0].numpy() / 255
        y, x = np.meshgrid(np.arange(26) + 0.5, np.arange(40) + 0.5, indexing="ij")
        self.assertAllClose(ink.sum(), 40 * 60 * scale**2, rtol=0.01)
        self.assertAllClose((ink * y).sum() / ink.sum(), 50 * scale, atol=0.02)
        self.assertAllClose((ink * x).sum() / ink.sum(), 90 * scale, atol=0.02)

    def test_shrinking_averages_instead_of_skipping(self):
        stripes = np.zeros((64, 64, 3), np.uint8)
        stripes[:, ::2] = 255
        frame, _, _ = fit(stripes, (8, 8))
        self.assertAllClose(frame, np.full((8, 8, 3), 127.5), atol=8)

    def test_is_the_same_in_a_tf_data_pipeline(self):
        images = [np.random.default_rng(i).integers(0, 256, (9 + i, 31 - i, 3), dtype=np.uint8) for i in range(3)]
        source = tf.data.Dataset.from_generator(
            lambda: images, output_signature=tf.TensorSpec((None, None, 3), tf.uint8)
        )
        batch = next(iter(source.map(lambda image: fit(image, (16, 16))).batch(3)))
        for column, alone in zip(batch, zip(*[fit(image, (16, 16)) for image in images], strict=True), strict=True):
            self.assertAllClose(column, tf.stack(alone), atol=1e-4)


if __name__ == "__main__":
    tf.test.main()
