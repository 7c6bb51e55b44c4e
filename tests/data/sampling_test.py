import collections

import numpy as np
import tensorflow as tf

from tests.data.pipeline_test import PicturesTestCase
from tf_frozen.data.pipeline import TrainBatches
from tf_frozen.data.sampling import RepeatFactor, ShuffledEpochs, repeat_factors
from tf_frozen.errors import ConfigError

BOX = (2, 2, 12, 12)


def places(sampler, count):
    """(view, index) of the first positions, by the graph that training runs."""
    views, indices = next(iter(tf.data.Dataset.range(count).map(sampler.place).batch(count)))
    return list(zip(views.numpy().tolist(), indices.numpy().tolist(), strict=True))


class SamplingTest(PicturesTestCase):
    def long_tail(self):
        """Twenty pictures: class 1 in all, class 2 in one, whose factor for a threshold of 0.45 is 3."""
        others = [self.example(number, [BOX]) for number in range(1, 20)]
        return [self.example(0, [BOX, BOX], [1, 2]), *others]

    def test_factors_are_those_of_the_paper(self):
        classes = [np.array(labels, np.int32) for labels in ([1, 1], [1, 2], [1], [])]
        self.assertAllClose(repeat_factors(classes, 0.5), [1, np.sqrt(2), 1, 1])
        self.assertAllClose(repeat_factors(classes, 1.0), [np.sqrt(4 / 3), 2, np.sqrt(4 / 3), 1])
        self.assertAllEqual(repeat_factors(classes, 0.0), [1, 1, 1, 1])
        self.assertEmpty(repeat_factors([], 0.5))
        RepeatFactor([], seed=0)  # no images, no error

    def test_rare_images_come_as_often_as_their_factor_says_over_the_epochs(self):
        count = collections.Counter(index for _, index in places(RepeatFactor(self.long_tail(), 5, 0.45), 20 * 200))
        self.assertAllInRange([count[0] / 200], 2.63, 2.83)  # of 20 · 3 / 22
        self.assertAllInRange([count[number] / 200 for number in range(1, 20)], 0.8, 1.0)  # of 20 / 22
        self.assertEqual(sum(count.values()), 20 * 200)

    def test_no_view_of_an_image_comes_twice(self):
        found = places(RepeatFactor(self.long_tail(), 5, 0.45), 400)
        self.assertLen(set(found), 400)
        self.assertAllGreaterEqual([view for view, _ in found], 0)

    def test_without_a_tail_it_is_the_order_of_shuffled_epochs(self):
        examples = [self.example(number, [BOX]) for number in range(8)]
        plain, repeated = (places(sampler(examples, 3), 24) for sampler in (ShuffledEpochs, RepeatFactor))
        self.assertEqual([index for _, index in plain], [index for _, index in repeated])

    def test_batches_follow_their_sampler(self):
        batches = TrainBatches(
            self.source(*self.long_tail()), (16, 16), 5, seed=5, sampler=lambda e, s: RepeatFactor(e, s, 0.45)
        )
        indices = np.concatenate([targets["image_index"] for _, targets in batches.dataset(0, 8)])
        self.assertEqual(indices.tolist(), [index for _, index in places(batches.sampler, 40)])
        self.assertEqual(batches.image_ids(0), [f"picture {index}" for index in indices[:5]])

    def test_a_threshold_that_is_no_share(self):
        with self.assertRaisesRegex(ConfigError, "RepeatFactor.threshold is 3"):
            RepeatFactor([], 0, 3)


def firsts(count, epochs, seed=0, length=None):
    """Indices [epochs, length]: how each epoch begins."""
    order = ShuffledEpochs(range(count), seed)
    starts = tf.data.Dataset.from_tensor_slices(np.int64(epochs)).map(lambda epoch: epoch * count)
    positions = starts.flat_map(lambda start: tf.data.Dataset.range(start, start + (length or count)))
    indices = [index for index in positions.map(lambda p: order.place(p)[1]).batch(length or count).as_numpy_iterator()]
    return np.stack(indices)


def surprise(counts):
    """χ² of counts that should be equal, in standard deviations from its mean."""
    expected, freedom = np.mean(counts), len(counts) - 1
    return (np.sum((counts - expected) ** 2 / expected) - freedom) / (2 * freedom) ** 0.5


class ShuffledEpochsTest(tf.test.TestCase):
    def test_every_epoch_is_a_permutation(self):
        for count in (1, 2, 5, 42, 300):
            for order in firsts(count, [0, 1, 256, 10**9]):
                self.assertAllEqual(np.sort(order), np.arange(count))
        self.assertEqual([int(v) for v in ShuffledEpochs(range(7), 0).place(tf.constant(15, tf.int64))][0], 2)

    def test_no_epoch_repeats_the_order_of_another(self):
        orders = firsts(118_287, range(2000), length=6)
        self.assertLen({tuple(order) for order in orders}, 2000)

    def test_no_seed_shares_the_orders_of_another(self):
        for count in (42, 118_287):
            starts = [firsts(count, range(4), seed, 6) for seed in (0, 1, 256, 512, 2**16, 2**31 - 1)]
            self.assertLen({start.tobytes() for start in starts}, 6)
            self.assertLen({row.tobytes() for start in starts for row in start}, 24)

    def test_each_image_comes_first_and_second_equally_often(self):
        for count in (5, 42):
            orders = firsts(count, range(3000), length=2)
            for column in orders.T:
                self.assertLess(surprise(np.bincount(column, minlength=count)), 4)

    def test_neighbours_of_one_epoch_are_none_in_others(self):
        """With the 4 rounds that index_shuffle takes, these differences are far from even."""
        orders = firsts(118_287, range(1000), length=42)
        gaps = (orders[:, 1:] - orders[:, :-1]) % 118_287
        self.assertLess(surprise(np.bincount(gaps.ravel() * 42 // 118_287, minlength=42)), 4)


if __name__ == "__main__":
    tf.test.main()
