import collections

import numpy as np
import tensorflow as tf

from tests.data.pipeline_test import PicturesTestCase
from tf_frozen.data.pipeline import TrainBatches
from tf_frozen.data.samplers.repeat_factor import RepeatFactor, repeat_factors
from tf_frozen.data.samplers.shuffled_epochs import ShuffledEpochs
from tf_frozen.errors import ConfigError

BOX = (2, 2, 12, 12)


def places(sampler, count):
    """(epoch, index) of the first positions, by the graph that training runs."""
    epochs, indices = next(iter(tf.data.Dataset.range(count).map(sampler.place).batch(count)))
    return list(zip(epochs.numpy().tolist(), indices.numpy().tolist(), strict=True))


class RepeatFactorTest(PicturesTestCase):
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

    def test_no_copy_of_an_image_comes_twice(self):
        found = places(RepeatFactor(self.long_tail(), 5, 0.45), 400)
        self.assertLen(set(found), 400)
        self.assertAllGreaterEqual([epoch for epoch, _ in found], 0)

    def test_every_image_goes_through_all_fixed_copies_in_turn(self):
        sampler = RepeatFactor(self.long_tail(), 5, 0.45)
        seen = collections.defaultdict(collections.Counter)
        for epoch, index in places(sampler, 20 * 64):
            seen[index][int(sampler.copy(epoch, 8))] += 1
        for index, counts in seen.items():
            self.assertAllInRange([counts[copy] for copy in range(8)], *((15, 30) if index == 0 else (4, 8)))

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


if __name__ == "__main__":
    tf.test.main()
