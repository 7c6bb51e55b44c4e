"""Box coding round trips, and overlaps and clipping worked out by hand."""

import math

import numpy as np
import tensorflow as tf
from official.vision.ops import box_ops as model_garden
from official.vision.ops import iou_similarity

from tf_frozen.geometry import boxes


def random_boxes(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Boxes [*shape, 4] with sides of 4 to 200 pixels."""
    rng = np.random.default_rng(seed)
    near = rng.uniform(-50, 500, [*shape, 2])
    return np.concatenate([near, near + rng.uniform(4, 200, [*shape, 2])], axis=-1).astype(np.float32)


class AreaAndOverlapTest(tf.test.TestCase):
    def test_area(self):
        given = [[0, 0, 10, 20], [5, 5, 5, 9], [8, 0, 2, 4], [8, 8, 2, 2], [-1.5, 0, 0.5, 3]]
        self.assertAllClose(boxes.area(tf.constant(given, tf.float32)), [200, 0, 0, 0, 6])

    def test_iou_by_hand(self):
        a = tf.constant([[0.0, 0, 10, 10], [0, 0, 4, 4]])
        b = tf.constant([[0.0, 0, 10, 10], [0, 5, 10, 15], [5, 5, 15, 15], [10, 0, 20, 10], [2, 2, 3, 3]])
        expected = [[1, 50 / 150, 25 / 175, 0, 1 / 100], [16 / 100, 0, 0, 0, 1 / 16]]
        self.assertAllClose(boxes.iou(a, b), expected)

    def test_iou_of_empty_boxes_is_zero(self):
        empty = tf.constant([[0.0, 0, 0, 0], [3, 3, 3, 8], [9, 9, 1, 1]])
        some = tf.constant([[0.0, 0, 10, 10]])
        self.assertAllEqual(boxes.iou(empty, some), np.zeros([3, 1]))
        self.assertAllEqual(boxes.iou(empty, empty), np.zeros([3, 3]))

    def test_iou_of_a_batch_is_that_of_its_images(self):
        a, b = random_boxes((2, 5), 0), random_boxes((2, 7), 1)
        together = boxes.iou(tf.constant(a), tf.constant(b))
        self.assertEqual(together.shape, (2, 5, 7))
        self.assertAllClose(together[1], boxes.iou(tf.constant(a[1]), tf.constant(b[1])))
        self.assertAllClose(boxes.iou(tf.constant(b), tf.constant(a)), tf.transpose(together, [0, 2, 1]))

    def test_same_overlaps_as_model_garden(self):
        a, b = tf.constant(random_boxes((2, 50), 0)), tf.constant(random_boxes((2, 70), 1))
        for first, second in ((a, b), (a[0], b[0])):
            expected = iou_similarity.IouSimilarity()(first, second)
            self.assertGreater(np.mean(expected > 0), 0.05)
            self.assertAllClose(boxes.iou(first, second), expected, rtol=0, atol=1e-6)

    def test_iou_with_boxes_shared_by_the_batch(self):
        anchors, b = random_boxes((5,), 0), random_boxes((2, 7), 1)
        both = boxes.iou(tf.constant(anchors), tf.constant(b))
        self.assertAllClose(both[0], boxes.iou(tf.constant(anchors), tf.constant(b[0])))


class ClipTest(tf.test.TestCase):
    def test_by_hand(self):
        given = tf.constant([[-5.0, -5, 50, 60], [10, 10, 20, 20], [90, 90, 99, 99]])
        expected = [[0, 0, 30, 40], [10, 10, 20, 20], [30, 40, 30, 40]]
        self.assertAllEqual(boxes.clip(given, tf.constant([30.0, 40.0])), expected)

    def test_a_size_for_every_image(self):
        given = tf.constant([[[0.0, 0, 100, 100]], [[0, 0, 100, 100]]])
        size = tf.constant([[30, 40], [200, 50]])
        self.assertAllEqual(boxes.clip(given, size), [[[0, 0, 30, 40]], [[0, 0, 100, 50]]])

    def test_a_box_for_every_class(self):
        given = tf.fill([2, 3, 5, 4], 100.0)
        clipped = boxes.clip(given, tf.constant([[30.0, 40.0], [200.0, 50.0]]))
        self.assertAllEqual(clipped[1, 2, 4], [100, 50, 100, 50])


class AtLeastOneTest(tf.test.TestCase):
    def test_a_row_of_padding_where_there_is_none(self):
        none = tf.zeros([2, 0, 4])
        for marks, expected in ((tf.zeros([2, 0], tf.bool), False), (tf.zeros([2, 0], tf.int32), 0)):
            given, found = boxes.at_least_one(none, marks)
            self.assertAllEqual(given, np.zeros([2, 1, 4]))
            self.assertAllEqual(found, [[expected]] * 2)

    def test_in_a_graph_that_does_not_know_how_many_there_are(self):
        specs = tf.TensorSpec([2, None, 4]), tf.TensorSpec([2, None], tf.int32)
        padded = tf.function(boxes.at_least_one, input_signature=specs)
        for count, expected in ((0, 1), (1, 1), (3, 3)):
            given, found = padded(tf.ones([2, count, 4]), tf.ones([2, count], tf.int32))
            self.assertAllEqual(given, tf.fill([2, expected, 4], float(count > 0)))
            self.assertAllEqual(found, tf.fill([2, expected], int(count > 0)))

    def test_some_stay_as_they_are(self):
        some, marks = tf.constant(random_boxes((2, 3), 0)), tf.constant([[1, 2, 0]] * 2)
        for given, expected in zip(boxes.at_least_one(some, marks), (some, marks), strict=True):
            self.assertAllEqual(given, expected)


class FlipTest(tf.test.TestCase):
    def test_by_hand(self):
        given, size = tf.constant([[1.0, 2, 4, 8], [0, 0, 0, 0]]), tf.constant([10.0, 20.0])
        self.assertAllEqual(boxes.flip(given, size, False, False), given)
        self.assertAllEqual(boxes.flip(given, size, True, False)[0], [6, 2, 9, 8])
        self.assertAllEqual(boxes.flip(given, size, False, True)[0], [1, 12, 4, 18])
        self.assertAllEqual(boxes.flip(given, size, tf.constant(True), tf.constant(True))[0], [6, 12, 9, 18])
        self.assertAllEqual(boxes.swap_axes(given)[0], [2, 1, 8, 4])

    def test_each_image_of_a_batch_has_its_own_size(self):
        given, sizes = tf.constant([[[1.0, 2, 4, 8]]] * 2), tf.constant([[10.0, 20.0], [30.0, 9.0]])
        self.assertAllEqual(boxes.flip(given, sizes, True, True)[:, 0], [[6, 12, 9, 18], [26, 1, 29, 7]])


class CodingTest(tf.test.TestCase):
    def test_encode_by_hand(self):
        anchor, box = tf.constant([0.0, 0, 10, 20]), tf.constant([5.0, 0, 25, 20])
        # The centre moves from y = 5 to 15, one anchor height; the height doubles.
        self.assertAllClose(boxes.encode(box, anchor), [1, 0, math.log(2), 0])
        self.assertAllClose(boxes.encode(box, anchor, (10, 10, 5, 5)), [10, 0, 5 * math.log(2), 0])

    def test_round_trip(self):
        given, anchors = random_boxes((2, 500), 2), random_boxes((2, 500), 3)
        for weights in [(1.0, 1.0, 1.0, 1.0), (10.0, 10.0, 5.0, 5.0), (30.0, 20.0, 15.0, 10.0)]:
            deltas = boxes.encode(tf.constant(given), tf.constant(anchors), weights)
            again = boxes.decode(deltas, tf.constant(anchors), weights)
            self.assertAllClose(again, given, atol=1e-3)

    def test_same_numbers_as_model_garden(self):
        given, anchors = tf.constant(random_boxes((300,), 4)), tf.constant(random_boxes((300,), 5))
        noise = tf.constant(np.random.default_rng(6).normal(size=[300, 4]), tf.float32)
        for weights in (None, [10.0, 10.0, 5.0, 5.0], [20.0, 20.0, 10.0, 10.0], [30.0, 30.0, 15.0, 15.0]):
            ours = weights or (1.0,) * 4
            deltas = model_garden.encode_boxes(given, anchors, weights)
            self.assertAllClose(boxes.encode(given, anchors, ours), deltas, rtol=1e-5, atol=1e-4)
            # The second step is long enough to reach the limit of growth.
            for step in (1.0, 3.0 * np.mean(ours)):
                moved = deltas + step * noise
                expected = model_garden.decode_boxes(moved, anchors, weights)
                largest = np.abs(expected).max(-1, keepdims=True)
                self.assertAllClose(boxes.decode(moved, anchors, ours) / largest, expected / largest, rtol=0, atol=1e-6)

    def test_clipped_as_model_garden_clips(self):
        given, size = tf.constant(random_boxes((2, 50), 7)), tf.constant([[200.0, 300.0], [90.0, 500.0]])
        self.assertAllEqual(boxes.clip(given, size), model_garden.clip_boxes(given, size[:, tf.newaxis]))

    def test_growth_is_limited(self):
        decoded = boxes.decode(tf.constant([0.0, 0, 1000, 1000]), tf.constant([0.0, 0, 16, 32]))
        self.assertAllClose(decoded[2:] - decoded[:2], [1000, 2000])

    def test_padding_gives_finite_deltas_and_gradients(self):
        zero, anchor = tf.zeros([4]), tf.constant([0.0, 0, 100, 100])
        for box, reference in [(zero, anchor), (anchor, zero), (zero, zero)]:
            with tf.GradientTape() as tape:
                tape.watch(box)
                deltas = boxes.encode(box, reference)
            self.assertAllInRange(deltas, -1e6, 1e6)
            self.assertAllInRange(tape.gradient(deltas, box), -1e6, 1e6)

    def test_half_precision_deltas_decode_in_single(self):
        anchors = tf.constant([[1000.0, 1000, 1010, 1011]])
        decoded = boxes.decode(tf.zeros([1, 4], tf.float16), anchors)
        self.assertAllEqual(decoded, anchors)


if __name__ == "__main__":
    tf.test.main()
