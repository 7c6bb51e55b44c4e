import tensorflow as tf

from tests.necks.pyramids import pyramid
from tf_frozen.errors import ConfigError
from tf_frozen.keras_flavor import keras
from tf_frozen.necks.bifpn import BiFPN
from tf_frozen.necks.fpn import FPN

NECKS = (FPN, BiFPN)


class EveryNeckTest(tf.test.TestCase):
    def test_impossible_arguments_are_refused_with_their_values(self):
        for neck in NECKS:
            name = neck.__name__
            with self.assertRaisesRegex(ConfigError, f"^{name}.filters is 0; it must be at least 1"):
                neck(filters=0)
            with self.assertRaisesRegex(
                ConfigError, f"^{name}.min_level is 5 and max_level 3; .* min_level ≤ max_level"
            ):
                neck(min_level=5, max_level=3)
            with self.assertRaisesRegex(ConfigError, f"^{name}.min_level is -1"):
                neck(min_level=-1)

    def test_a_pyramid_that_does_not_fit_is_refused(self):
        for neck in NECKS:
            name = neck.__name__
            with self.assertRaisesRegex(
                ConfigError, rf"^{name}.min_level is 3, but .* has levels \[4, 5\]\. Set {name}"
            ):
                neck(filters=4, min_level=3, max_level=7)(pyramid(1, (64, 64), {5: 4, 4: 4}))
            with self.assertRaisesRegex(
                ConfigError, rf"came into {name} has levels \[3, 5\].* min_level 3 up .* no gap"
            ):
                neck(filters=4, min_level=3, max_level=7)(pyramid(1, (64, 64), {3: 4, 5: 4}))

    def test_levels_outside_the_neck_s_are_left_out(self):
        for neck in NECKS:
            outputs = neck(filters=4, min_level=3, max_level=4)(pyramid(1, (64, 64), {2: 4, 3: 4, 4: 4, 6: 4}))
            self.assertEqual(list(outputs), [3, 4])


if __name__ == "__main__":
    tf.test.main()
