import tensorflow as tf

from tf_frozen.errors import ConfigError
from tf_frozen.training.validation import Validation


class ValidationTest(tf.test.TestCase):
    def test_about_ten_scores_a_run_and_none_in_a_very_short_one(self):
        intervals = [Validation().interval(None, steps) for steps in (1, 50, 80, 600, 601, 277200)]
        self.assertEqual(intervals, [0, 0, 50, 60, 61, 27720])
        self.assertEqual([Validation().interval(every, 600) for every in (0, 7, 600)], [0, 7, 0])

    def test_takes_one_image_for_ten_that_were_trained_on(self):
        validation = Validation()
        self.assertEqual([validation.images_of(60, 4, most) for most in (5000, 9)], [24, 9])
        self.assertEqual(validation.images_of(50, 1, 5000), 8)
        self.assertEqual(validation.images_of(27720, 128, 5000), 5000)
        self.assertEqual([Validation(images=100).images_of(60, 4, most) for most in (5000, 9)], [100, 9])

    def test_patience(self):
        record = {"step": 30, "since": 2}
        self.assertEqual([Validation(patience=n).exhausted(record) for n in (1, 2, 3)], [True, True, False])
        self.assertFalse(Validation().exhausted(record))
        self.assertFalse(Validation(patience=1).exhausted(None))

    def test_what_is_out_of_range_is_named(self):
        for message, arguments in (("images is 0", {"images": 0}), ("patience is 1.5", {"patience": 1.5})):
            with self.subTest(message), self.assertRaisesRegex(ConfigError, message):
                Validation(**arguments)


if __name__ == "__main__":
    tf.test.main()
