import tensorflow as tf

from tf_frozen.errors import ConfigError
from tf_frozen.training.length import Length


class LengthTest(tf.test.TestCase):
    def test_follows_the_images_between_a_floor_and_a_ceiling(self):
        length = Length(8, least=600, most=6000)
        self.assertEqual(
            [length.steps(images, 4) for images in (1, 42, 300, 301, 2000, 5000)], [600] * 3 + [602, 4000, 6000]
        )
        self.assertEqual(length.steps(2000, 8), 2000)
        self.assertEqual([Length(0.5).steps(images, 4) for images in (1, 9, 80)], [1, 2, 10])

    def test_a_run_that_goes_on_keeps_the_length_it_began_with(self):
        started = Length(10).record(100, 4)
        self.assertEqual(started["steps"], 250)
        self.assertEqual(Length(10).record(140, 4, started), started)
        self.assertEqual(Length(20).record(140, 4, started)["steps"], 700)
        self.assertEqual(Length(10, least=900).record(100, 4, started)["steps"], 900)
        self.assertEqual(Length(10).record(100, 2, started)["steps"], 500)

    def test_what_is_out_of_range_is_named(self):
        for message, arguments in (
            ("epochs is 0", (0,)),
            ("epochs is 'many'", ("many",)),
            ("epochs is nan", (float("nan"),)),
            ("least is 0", (1, 0)),
            ("most is 1.5", (1, 1, 1.5)),
            ("most is 5, which is below Length.least, 6", (1, 6, 5)),
        ):
            with self.subTest(message), self.assertRaisesRegex(ConfigError, message):
                Length(*arguments)


if __name__ == "__main__":
    tf.test.main()
