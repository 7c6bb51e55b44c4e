import os

import numpy as np
import tensorflow as tf

from tf_frozen.data import images
from tf_frozen.data.augmentation.color_jitter import ColorJitter
from tf_frozen.data.paths import resolve

BOXES = tf.constant([[1.0, 2.0, 3.0, 4.0]])


def tile():
    path = os.path.join(resolve("embedded:neon_trees/train"), "train_0000_0000.jpg")
    return tf.constant(images.read(path)[:64, :64])


class ColorJitterTest(tf.test.TestCase):
    def jitter(self, seed, image=None, **strengths):
        strengths = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0, **strengths}
        objects = {"boxes": BOXES, "masks": tf.ones([1, 4, 4], tf.uint8)}
        image, found = ColorJitter(**strengths)(tile() if image is None else image, objects, tf.constant([5, seed]))
        for name, rows in objects.items():
            self.assertAllEqual(found[name], rows)
        self.assertEqual(image.dtype, tf.float32)
        self.assertAllInRange(image, 0.0, 255.0)
        return image.numpy()

    def test_no_strength_changes_nothing(self):
        self.assertAllClose(self.jitter(1), tf.cast(tile(), tf.float32), atol=0.01)

    def test_the_seed_decides(self):
        first, again, other = (self.jitter(seed, brightness=0.2, hue=0.1) for seed in (1, 1, 2))
        self.assertAllEqual(first, again)
        self.assertNotAllClose(first, other, atol=1.0)

    def test_brightness_shifts_by_at_most_its_part_of_255(self):
        grey = tf.fill([4, 4, 3], 100.0)
        shifts = [self.jitter(seed, grey, brightness=0.2)[0, 0, 0] - 100.0 for seed in range(100)]
        self.assertAllInRange(shifts, -51.01, 51.01)
        self.assertLess(min(shifts), -40.0)
        self.assertGreater(max(shifts), 40.0)

    def test_contrast_keeps_the_mean_and_scales_what_differs_from_it(self):
        grey = tf.concat([tf.fill([2, 4, 3], 80.0), tf.fill([2, 4, 3], 120.0)], 0)
        factors = []
        for seed in range(100):
            image = self.jitter(seed, grey, contrast=0.3)
            self.assertAllClose(image.mean(), 100.0, atol=0.1)
            factors.append((image[3, 0, 0] - image[0, 0, 0]) / 40.0)
        self.assertAllInRange(factors, 0.699, 1.301)
        self.assertLess(min(factors), 0.75)
        self.assertGreater(max(factors), 1.25)

    def test_saturation_and_hue_leave_grey_alone(self):
        grey = tf.fill([4, 4, 3], 100.0)
        self.assertAllClose(self.jitter(1, grey, saturation=0.5, hue=0.3), grey, atol=0.01)

    def test_hue_turns_by_at_most_its_part_of_the_circle(self):
        red = tf.tile(tf.constant([[[255.0, 0.0, 0.0]]]), [2, 2, 1])
        hues = [tf.image.rgb_to_hsv(self.jitter(seed, red, hue=0.1) / 255.0)[0, 0, 0].numpy() for seed in range(100)]
        turns = [hue - 1.0 if hue > 0.5 else hue for hue in hues]
        self.assertAllInRange(turns, -0.1001, 0.1001)
        self.assertLess(min(turns), -0.08)
        self.assertGreater(max(turns), 0.08)

    def test_what_is_drawn_is_independent(self):
        """Of a grey and a red pixel, brightness moves the first and hue the second."""
        image = tf.constant([[[100.0, 100.0, 100.0], [128.0, 0.0, 0.0]]])
        drawn = []
        for seed in range(300):
            jittered = self.jitter(seed, image, brightness=0.1, hue=0.1)
            hue = float(tf.image.rgb_to_hsv(jittered / 255.0)[0, 1, 0])
            drawn.append((jittered[0, 0, 0], hue - 1.0 if hue > 0.5 else hue))
        # Of 300 independent pairs the correlation has a standard deviation of 0.058.
        self.assertLess(abs(np.corrcoef(np.transpose(drawn))[0, 1]), 0.2)


if __name__ == "__main__":
    tf.test.main()
