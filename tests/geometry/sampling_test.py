"""Counts, membership and repeatability of sampled anchors."""

import numpy as np
import tensorflow as tf
from official.vision.ops.sampling_ops import BalancedPositiveNegativeSampler

from tf_frozen.geometry import sampling


class SampleTest(tf.test.TestCase):
    def test_largest_noise_wins(self):
        candidates = tf.constant([[True, True, False, True], [True, False, False, True]])
        noise = tf.constant([[0.1, 0.7, 0.9, 0.3], [0.0, 0.8, 0.2, 0.4]])
        mask = sampling.sample(candidates, tf.constant([2, 2]), 4, noise)
        self.assertAllEqual(mask, [[False, True, False, True], [True, False, False, True]])

    def test_count_of_each_image_and_maximum(self):
        candidates, noise = tf.ones([4, 100], tf.bool), tf.random.stateless_uniform([4, 100], [1, 2])
        mask = sampling.sample(candidates, tf.constant([0, 5, 10, 50]), 10, noise)
        self.assertAllEqual(tf.reduce_sum(tf.cast(mask, tf.int32), axis=1), [0, 5, 10, 10])

    def test_ties_do_not_exceed_the_count(self):
        mask = sampling.sample(tf.ones([1, 50], tf.bool), tf.constant([7]), 20, tf.zeros([1, 50]))
        self.assertEqual(np.sum(mask), 7)

    def test_maximum_larger_than_the_candidates(self):
        mask = sampling.sample(tf.ones([1, 3], tf.bool), tf.constant([9]), 9, tf.zeros([1, 3]))
        self.assertAllEqual(mask, [[True, True, True]])


class FirstTest(tf.test.TestCase):
    def test_the_first_of_each_row_then_what_fills_it_up(self):
        candidates = tf.constant([[False, True, False, True, True], [False, False, True, False, False]])
        graph = tf.function(
            sampling.first, input_signature=[tf.TensorSpec([2, None], tf.bool), tf.TensorSpec([], tf.int32)]
        )
        for first in (sampling.first, graph):
            chosen, index = first(candidates, 2)
            self.assertAllEqual(chosen, [[True, True], [True, False]])
            self.assertAllEqual(index[0], [1, 3])
            self.assertEqual(index[1, 0], 2)
            self.assertAllEqual(first(candidates, 9)[0], [[True] * 3 + [False] * 2, [True] + [False] * 4])


class SampleBalancedTest(tf.test.TestCase):
    def counts(self, positives: int, negatives: int, total: int = 32, fraction: float = 0.25) -> list[int]:
        """Numbers of sampled positives and negatives of an image with these numbers of either."""
        row = np.random.default_rng(0).permutation([1] * positives + [0] * negatives + [-1] * 20)
        label = tf.constant(row[np.newaxis])
        masks = sampling.sample_balanced(label == 1, label == 0, total, fraction, tf.constant([3, 4]))
        self.assertTrue(np.all(label.numpy()[masks[0]] == 1))
        self.assertTrue(np.all(label.numpy()[masks[1]] == 0))
        return [int(np.sum(mask)) for mask in masks]

    def test_counts(self):
        self.assertEqual(self.counts(100, 100), [8, 24])
        self.assertEqual(self.counts(3, 100), [3, 29])
        self.assertEqual(self.counts(0, 100), [0, 32])
        self.assertEqual(self.counts(100, 5), [8, 5])
        self.assertEqual(self.counts(0, 0), [0, 0])

    def test_as_many_as_model_garden_draws(self):
        """Which ones is chance; how many is not."""
        for positives, negatives, total, fraction in (
            (9, 60, 32, 0.25),
            (3, 60, 32, 0.25),
            (40, 9, 32, 0.5),
            (0, 5, 8, 0.5),
        ):
            indicator = tf.constant([True] * (positives + negatives) + [False] * 20)
            label = tf.constant([True] * positives + [False] * (negatives + 20))
            drawn = BalancedPositiveNegativeSampler(fraction).subsample(indicator, total, label)
            expected = [int(np.sum(drawn & label)), int(np.sum(drawn & ~label))]
            self.assertEqual(self.counts(positives, negatives, total, fraction), expected)

    def test_a_fraction_that_binary_numbers_miss(self):
        self.assertEqual(self.counts(100, 100, total=100, fraction=0.29), [29, 71])

    def test_seed_decides_and_every_candidate_has_its_chance(self):
        positive = tf.constant([[True] * 10 + [False] * 90] * 2)

        def draw(seed: int, traced: bool = False) -> np.ndarray:
            function = tf.function(sampling.sample_balanced) if traced else sampling.sample_balanced
            return np.stack(function(positive, ~positive, 20, 0.25, tf.constant([seed, 0])))

        self.assertAllEqual(draw(1), draw(1))
        self.assertAllEqual(draw(1), draw(1, traced=True))
        self.assertFalse(np.array_equal(draw(1), draw(2)))
        self.assertFalse(np.array_equal(draw(1)[:, 0], draw(1)[:, 1]))
        often = sum(draw(seed).any(axis=0).astype(int) for seed in range(60))
        # Positives are drawn with probability 5/10, negatives with 15/90: 30 and 10 times of 60.
        self.assertAllInRange(often[:, :10], 14, 46)
        self.assertAllInRange(often[:, 10:], 1, 25)


if __name__ == "__main__":
    tf.test.main()
