import tensorflow as tf

from tf_frozen.geometry.resample import PADDING, place, window


class PlaceTest(tf.test.TestCase):
    def test_a_side_shorter_than_a_pixel_is_still_seen(self):
        """3 x 1000 pixels in a frame of 128 are 0.384 pixels high."""
        for side in (1, 2, 3, 5):
            stripes = tf.tile(tf.constant([[[255, 0, 0]]], tf.uint8), [side, 1000, 1])
            for image, turn in ((stripes, [0, 1, 2]), (tf.transpose(stripes, [1, 0, 2]), [1, 0, 2])):
                framed = tf.transpose(place(image, (128, 128), tf.fill([2], 0.128), tf.zeros([2])), turn)
                self.assertAllClose(framed[0], tf.broadcast_to([255.0, 0.0, 0.0], [128, 3]), atol=1e-3)
                self.assertAllEqual(framed[1:], tf.broadcast_to(PADDING, [127, 128, 3]))

    def test_integers_and_floats_give_the_same(self):
        image = tf.cast(tf.random.stateless_uniform([30, 41, 3], [1, 2], maxval=255, dtype=tf.int32), tf.uint8)
        for scales, shift in (([0.3, 0.7], [3.2, -4.5]), ([2.0, 1.1], [-7.0, 8.0])):
            framed = place(image, (24, 32), tf.constant(scales), tf.constant(shift))
            self.assertAllClose(framed, place(tf.cast(image, tf.float32), (24, 32), scales, shift), atol=1e-3)
            top, left = (max(0, round(start)) for start in shift)
            self.assertAllEqual(framed[:top], tf.broadcast_to(PADDING, [top, 32, 3]))
            self.assertAllEqual(framed[:, :left], tf.broadcast_to(PADDING, [24, left, 3]))


class WindowTest(tf.test.TestCase):
    def test_shows_what_the_whole_image_shows_there(self):
        image = tf.random.stateless_uniform([90, 120, 3], [1, 2], maxval=255.0)
        for scale in (0.3, 0.77, 1.0, 2.5):
            for share in (0.0, 0.3, 0.5, 0.9):
                start = (share * 90 * scale, share * 120 * scale)
                shown = window(image, (24, 32), tf.constant(scale), tf.constant(start))
                self.assertAllClose(shown, place(image, (24, 32), [scale, scale], -tf.constant(start)), atol=2e-2)

    def test_pixels_at_scale_1_are_those_of_the_image_and_the_rest_is_padding(self):
        image = tf.cast(tf.random.stateless_uniform([30, 40, 3], [1, 2], maxval=255, dtype=tf.int32), tf.uint8)
        shown = window(image, (24, 32), tf.constant(1.0), tf.constant([10.0, 4.0]))
        self.assertAllEqual(shown[:20], tf.cast(image[10:, 4:36], tf.float32))
        self.assertAllEqual(shown[20:], tf.broadcast_to(PADDING, [4, 32, 3]))


if __name__ == "__main__":
    tf.test.main()
