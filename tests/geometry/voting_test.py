from pathlib import Path
from unittest import mock

import numpy as np
import tensorflow as tf

from tf_frozen.geometry import voting
from tf_frozen.geometry.voting import vote


def crowd(batch, count, seed=0):
    """Boxes in groups of eight that nearly coincide, scores and classes."""
    rng = np.random.default_rng(seed)
    near = np.tile(rng.uniform(0, 600, [batch, count // 8, 2]), [1, 8, 1])
    near += rng.normal(0, 1, near.shape)
    boxes = np.concatenate([near, near + rng.uniform(10, 14, near.shape)], -1)
    scores, classes = rng.uniform(size=near.shape[:2]), rng.integers(1, 3, near.shape[:2])
    return [tf.constant(x, dtype) for x, dtype in ((boxes, tf.float32), (scores, tf.float32), (classes, tf.int32))]


def peak_megabytes():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


class VoteTest(tf.test.TestCase):
    def test_a_worked_example(self):
        # The second overlaps the first by 80/120, the third by 20/180.
        boxes = tf.constant([[[0, 0, 10, 10], [0, 2, 10, 12], [0, 8, 10, 18]]], tf.float32)
        scores, classes = tf.constant([[0.9, 0.3, 0.5]]), tf.constant([[1, 1, 1]])
        voted, total = vote(boxes, scores, classes, 0.5)
        self.assertAllClose(voted, [[[0, 0.5, 10, 10.5], [0, 0.5, 10, 10.5], [0, 8, 10, 18]]])
        self.assertAllClose(total, [[1.2, 1.2, 0.5]])
        voted, total = vote(boxes, scores, classes, 0.7)
        self.assertAllClose(voted, boxes)
        self.assertAllClose(total, scores)

    def test_another_class_has_no_vote(self):
        boxes = tf.constant([[[0, 0, 10, 10], [0, 2, 10, 12], [0, 1, 10, 11]]], tf.float32)
        voted, total = vote(boxes, tf.ones([1, 3]), tf.constant([[1, 2, 1]]), 0.5)
        self.assertAllClose(voted, [[[0, 0.5, 10, 10.5], [0, 2, 10, 12], [0, 0.5, 10, 10.5]]])
        self.assertAllClose(total, [[2, 1, 2]])

    def test_padding_neither_votes_nor_moves(self):
        boxes = tf.constant([[[0, 0, 10, 10], [0, 0, 0, 0], [0, 0, 10, 12]]], tf.float32)
        voted, total = vote(boxes, tf.constant([[0.5, 0.0, 0.0]]), tf.constant([[1, 0, 1]]), 0.5)
        self.assertAllClose(voted, [[[0, 0, 10, 10], [0, 0, 0, 0], [0, 0, 10, 10]]])
        self.assertAllClose(total, [[0.5, 0, 0.5]])

    def test_images_do_not_mix(self):
        rng = np.random.default_rng(0)
        near = rng.uniform(0, 50, [3, 40, 2])
        boxes = np.concatenate([near, near + rng.uniform(5, 40, [3, 40, 2])], -1).astype(np.float32)
        scores, classes = rng.uniform(size=[3, 40]).astype(np.float32), rng.integers(1, 3, [3, 40])
        together, sums = vote(tf.constant(boxes), tf.constant(scores), tf.constant(classes), 0.4)
        for image in range(3):
            one = slice(image, image + 1)
            alone, sum_alone = vote(tf.constant(boxes[one]), tf.constant(scores[one]), tf.constant(classes[one]), 0.4)
            self.assertAllClose(together[one], alone)
            self.assertAllClose(sums[one], sum_alone)
        self.assertNotAllClose(together, boxes)

    def test_in_parts_it_is_bit_for_bit_what_it_is_at_once(self):
        inputs = crowd(3, 104)
        together = vote(*inputs, 0.5)
        self.assertNotAllClose(together[0], inputs[0])
        for pairs in (1, 5 * 3 * 104, 103 * 3 * 104):  # one row at a time, five, and all but one
            with mock.patch.object(voting, "_PAIRS", pairs):
                for part, whole in zip(tf.function(vote)(*inputs, 0.5), together, strict=True):
                    self.assertAllEqual(part, whole)

    def test_no_image(self):
        voted, total = vote(*(x[:0] for x in crowd(1, 8)), 0.5)
        self.assertEqual((voted.shape, total.shape), ((0, 8, 4), (0, 8)))

    def test_memory_does_not_grow_with_the_square(self):
        refs = Path("/proc/self/clear_refs")
        if not refs.exists():
            self.skipTest("needs Linux's record of the peak")
        inputs = crowd(1, 6000)
        voted = tf.function(vote).get_concrete_function(*inputs, 0.5)
        refs.write_text("5")  # resets the peak
        before = peak_megabytes()
        voted(*inputs)
        # All pairs at once would take 144 MB for each of about five results.
        self.assertLess(peak_megabytes() - before, 300)
