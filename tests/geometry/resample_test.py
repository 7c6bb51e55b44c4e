import tensorflow as tf

from tf_frozen.geometry.resample import PADDING, place, window


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
