import numpy as np
import tensorflow as tf

from tf_frozen.geometry.voting import vote


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
