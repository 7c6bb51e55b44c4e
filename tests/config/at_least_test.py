import tensorflow as tf

from tests.config.toys import RUN, GinTest
from tf_frozen.config.at_least import at_least
from tf_frozen.errors import ConfigError

IN_PROPORTION = """
import tf_frozen.config
more/at_least.least = 300
more/at_least.number = %TRAIN_STEPS
more/at_least.times = 3
ToyRun.data = (@more/at_least(), @more/at_least())
"""


class AtLeastTest(GinTest):
    def test_in_proportion_and_rounded_up(self):
        self.assertEqual([at_least(300, 100, 3), at_least(300, 20, 3), at_least(1, 3, 1.5)], [300, 300, 5])

    def test_numbers_out_of_range_are_refused_where_python_and_where_gin_gives_them(self):
        message = "at_least.least is -1; it must be an integer from 0 to"
        with self.assertRaisesRegex(ConfigError, message):
            at_least(-1, 3)
        with self.assertRaisesRegex(ConfigError, f"(?s){message}.*more/at_least.least = -1"):
            self.load(RUN + IN_PROPORTION, "TRAIN_STEPS = 1", "more/at_least.least = -1")

    def test_follows_a_macro(self):
        for steps, expected in ((100, 300), (500, 1500)):
            self.load(RUN + IN_PROPORTION, f"TRAIN_STEPS = {steps}")
            self.assertEqual(self.build().data, (expected, expected))


if __name__ == "__main__":
    tf.test.main()
