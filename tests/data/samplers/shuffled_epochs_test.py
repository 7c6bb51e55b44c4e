import numpy as np
import tensorflow as tf

from tf_frozen.data.samplers.shuffled_epochs import ShuffledEpochs


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
