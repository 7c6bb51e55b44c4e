import tensorflow as tf

from tf_frozen.errors import ConfigError
from tf_frozen.heads.balanced_sampler import BalancedSampler


class BalancedSamplerTest(tf.test.TestCase):
    def test_at_most_the_fraction_is_positive(self):
        positive = tf.constant([[True] * 6 + [False] * 6, [True] + [False] * 11])
        drawn = BalancedSampler(8, 0.25)(positive, ~positive, tf.constant([1, 2]))
        self.assertAllEqual([tf.math.count_nonzero(mask, 1) for mask in drawn], [[2, 1], [6, 7]])
        self.assertAllEqual(drawn[0] & ~positive, tf.zeros_like(positive))

    def test_what_makes_no_sense_is_refused_with_its_value(self):
        with self.assertRaisesRegex(ConfigError, "BalancedSampler.samples is 0; it must be an integer from 1"):
            BalancedSampler(0)
        with self.assertRaisesRegex(ConfigError, "positive_fraction is 25; it must be a number from 0 to 1"):
            BalancedSampler(positive_fraction=25)


if __name__ == "__main__":
    tf.test.main()
