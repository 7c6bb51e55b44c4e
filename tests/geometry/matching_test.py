"""Labels and indices of anchors, by hand and against Model Garden's matcher."""

import numpy as np
import tensorflow as tf
from official.vision.modeling.layers.roi_sampler import ROISampler
from official.vision.ops import box_matcher as model_garden

from tf_frozen.geometry import anchors, boxes, matching

ALL = np.ones([2], bool)


def real_overlaps(seed: int, images: int = 3, count: int = 6) -> tf.Tensor:
    """Overlaps [images, n, count] of a 128-pixel frame's anchors with random boxes."""
    rng = np.random.default_rng(seed)
    near = rng.uniform(0, 80, [images, count, 2])
    given = np.concatenate([near, near + rng.uniform(8, 48, [images, count, 2])], axis=-1)
    grid = tf.concat(list(anchors.pyramid_anchors((128, 128), [3, 4]).values()), axis=0)
    return boxes.iou(grid, tf.constant(given, tf.float32))


class MatchTest(tf.test.TestCase):
    def test_thresholds_by_hand(self):
        iou = tf.constant([[0.8, 0.1], [0.2, 0.7], [0.5, 0.3], [0.3, 0.29], [0.29, 0.1], [0.0, 0.0]])
        index, label = matching.match(iou, ALL, positive=0.7, negative=0.3)
        self.assertAllEqual(index[:5], [0, 1, 0, 0, 0])
        self.assertAllEqual(label, [1, 1, -1, -1, 0, 0])

    def test_forced_match_is_the_best_row_of_each_box(self):
        iou = tf.constant([[0.9, 0.0], [0.6, 0.2], [0.1, 0.1]])
        index, label = matching.match(iou, ALL, positive=0.7, negative=0.3, force_match=True)
        # Row 1 lies better on box 0, but it is all that box 1 can get.
        self.assertAllEqual(index, [0, 1, 0])
        self.assertAllEqual(label, [1, 1, 0])

    def test_of_equal_rows_the_first_is_forced_and_of_two_boxes_the_first_has_it(self):
        iou = tf.constant([[0.1, 0.0], [0.4, 0.5], [0.4, 0.1], [0.0, 0.5]])
        index, label = matching.match(iou, ALL, positive=0.7, negative=0.3, force_match=True)
        self.assertAllEqual(label, [0, 1, -1, -1])
        self.assertAllEqual(index, [0, 0, 0, 1])

    def test_a_tiny_box_forces_one_of_the_many_anchors_that_hold_it(self):
        grid = tf.concat(list(anchors.pyramid_anchors((1024, 1024), range(2, 7), 8.0, 1).values()), axis=0)
        overlaps = boxes.iou(grid, tf.constant([[510.0, 510.0, 514.0, 514.0]]))
        self.assertGreater(np.sum(overlaps == tf.reduce_max(overlaps)), 10)
        index, label = matching.match(overlaps, ALL[:1], 0.7, 0.3, force_match=True)
        their_index, their_label = model_garden.BoxMatcher([0.3, 0.7], [0, -1, 1], True)(overlaps)
        self.assertEqual(np.sum(label == 1), 1)
        self.assertAllEqual(label, their_label)
        self.assertAllEqual(index, their_index)

    def test_a_box_that_no_row_touches_forces_nothing(self):
        iou = tf.constant([[0.9, 0.0], [0.1, 0.0]])
        _, label = matching.match(iou, ALL, positive=0.7, negative=0.3, force_match=True)
        self.assertAllEqual(label, [1, 0])

    def test_many_boxes_are_matched_in_parts_as_all_at_once(self):
        rng = np.random.default_rng(1)
        near = rng.uniform(0, 118, [2, 2 * matching.CHUNK + 30, 2])
        given = np.concatenate([near, near + rng.uniform(4, 24, near.shape)], axis=-1).astype(np.float32)
        given[:, matching.CHUNK :: 7] = given[:, :1]  # equal overlaps in several parts
        valid = rng.uniform(size=given.shape[:2]) < 0.8
        valid[1] = False  # an image of padding alone
        grid = tf.concat(list(anchors.pyramid_anchors((128, 128), [3, 4], 4.0, 2).values()), axis=0)[tf.newaxis]
        for force in (False, True):
            expected = matching.match(boxes.iou(grid, given), valid, 0.6, 0.4, force)
            in_graph = tf.function(matching.match_boxes)
            for shape in (given.shape, (2, None, 4)):
                spec = tf.TensorSpec(shape)
                graph = in_graph.get_concrete_function(grid, spec, tf.TensorSpec(shape[:2], tf.bool), 0.6, 0.4, force)
                for ours, theirs in zip(graph(grid, tf.constant(given), tf.constant(valid)), expected, strict=True):
                    self.assertAllEqual(ours, theirs)
        self.assertGreater(np.sum(expected[1][0] == 1), 100)

    def test_padding_never_matches(self):
        iou = tf.constant([[0.8, 0.9], [0.5, 0.95], [0.1, 0.99]])
        for force in (False, True):
            index, label = matching.match(iou, np.array([True, False]), 0.7, 0.3, force)
            self.assertAllEqual(index, [0, 0, 0])
            self.assertAllEqual(label, [1, -1, 0])

    def test_an_image_without_boxes_is_all_negative(self):
        for count in (0, 3):
            iou, valid = tf.zeros([2, 4, count]), tf.zeros([2, count], tf.bool)
            index, label = matching.match(iou, valid, 0.7, 0.3, force_match=True)
            self.assertAllEqual(index, np.zeros([2, 4]))
            self.assertAllEqual(label, np.zeros([2, 4]))

    def test_number_of_boxes_unknown_while_tracing(self):
        traced = tf.function(
            lambda iou, valid: matching.match(iou, valid, 0.7, 0.3, True),
            input_signature=[tf.TensorSpec([None, None, None]), tf.TensorSpec([None, None], tf.bool)],
        )
        iou = real_overlaps(0)
        valid = tf.ones([3, 6], tf.bool)
        for got, expected in zip(traced(iou, valid), matching.match(iou, valid, 0.7, 0.3, True), strict=True):
            self.assertAllEqual(got, expected)
        self.assertAllEqual(traced(tf.zeros([1, 4, 0]), tf.zeros([1, 0], tf.bool))[1], np.zeros([1, 4]))

    def test_same_as_model_garden(self):
        for positive, negative, force in [(0.5, 0.5, False), (0.5, 0.4, True), (0.7, 0.3, True)]:
            for seed in range(3):
                iou = real_overlaps(seed)
                # Of rows some tie for a box, and the last box claims the row that the first does.
                iou = tf.round(tf.concat([iou, iou[..., :1]], -1) * 50) / 50
                best = iou == tf.reduce_max(iou, 1, keepdims=True)
                self.assertGreater(np.sum(best), iou.shape[0] * iou.shape[2])
                index, label = matching.match(iou, tf.ones([3, 7], tf.bool), positive, negative, force)
                matcher = model_garden.BoxMatcher([negative, positive], [0, -1, 1], force)
                their_index, their_label = matcher(iou)
                self.assertIn(1, label.numpy())
                self.assertAllEqual(label, their_label)
                self.assertAllEqual(index, their_index)

    def test_rois_learn_the_classes_and_boxes_that_model_garden_s_learn(self):
        """Its sampler labels all RoIs before it draws. Padding has coordinates of -1 there, of 0 here."""
        random = np.random.default_rng(5)
        near = random.uniform(0, 80, [2, 6, 2])
        given = np.concatenate([near, near + random.uniform(8, 48, [2, 6, 2])], -1).astype(np.float32)
        rois = np.concatenate([given + random.normal(0, 2, given.shape), random.uniform(0, 64, [2, 30, 4])], 1)
        rois[..., 2:] = np.maximum(rois[..., 2:], rois[..., :2] + 5)
        classes = tf.constant([[3, 1, 4, 1, 5, 0], [9, 2, 6, 5, 0, 0]])
        valid, rois = classes > 0, tf.constant(rois, tf.float32)
        padded = [tf.where(valid[..., tf.newaxis], given, -1.0), tf.where(valid, classes, -1)]
        for threshold in (0.5, 0.7):
            sampler = ROISampler(
                False,
                foreground_iou_threshold=threshold,
                background_iou_high_threshold=threshold,
                skip_subsampling=True,
            )
            _, their_boxes, their_classes, their_index = sampler(rois, *padded)
            index, label = matching.match(boxes.iou(rois, tf.constant(given)), valid, threshold, threshold)
            positive = label == 1
            self.assertBetween(np.sum(positive), 4, 30)
            self.assertAllEqual(tf.where(positive, tf.gather(classes, index, batch_dims=1), 0), their_classes)
            self.assertAllEqual(index[positive], their_index[positive])
            self.assertAllEqual(tf.gather(given, index, batch_dims=1)[positive], their_boxes[positive])


if __name__ == "__main__":
    tf.test.main()
