import numpy as np
import tensorflow as tf

from tests.geometry.nms_test import random_boxes, slow_nms
from tf_frozen.errors import ConfigError
from tf_frozen.heads.nms import NMS


class NMSTest(tf.test.TestCase):
    BOXES = tf.constant([[[0.0, 0, 10, 10], [0, 1, 10, 11], [50, 50, 60, 60]]])

    def test_by_hand(self):
        probabilities = tf.constant([[[0.9, 0.02], [0.8, 0.6], [0.3, 0.04]]])
        found = NMS(detections=5).select(self.BOXES, probabilities)
        zero = [0, 0, 0, 0]
        # The second box loses as class 1 to the first, and wins as class 2.
        self.assertAllEqual(found["boxes"], [[[0, 0, 10, 10], [0, 1, 10, 11], [50, 50, 60, 60], zero, zero]])
        self.assertAllClose(found["scores"], [[0.9, 0.6, 0.3, 0, 0]])
        self.assertAllEqual(found["classes"], [[1, 2, 1, 0, 0]])
        self.assertAllEqual(found["count"], [3])
        self.assertEqual((found["classes"].dtype, found["count"].dtype), (tf.int32, tf.int32))

    def test_a_box_for_every_class(self):
        shifted = self.BOXES + tf.constant([20.0, 0, 20, 0])
        found = NMS(0.5, 0.5, detections=4).select(
            tf.stack([self.BOXES, shifted], axis=2), tf.constant([[[0.9, 0.1], [0.1, 0.8], [0.1, 0.7]]])
        )
        expected = [[0, 0, 10, 10], [20, 1, 30, 11], [70, 50, 80, 60], [0, 0, 0, 0]]
        self.assertAllEqual(found["boxes"], [expected])
        self.assertAllEqual(found["classes"], [[1, 2, 2, 0]])

    def test_images_are_independent(self):
        boxes = tf.concat([self.BOXES, self.BOXES + 7.0], axis=0)
        probabilities = tf.constant([[[0.9], [0.8], [0.3]], [[0.1], [0.0], [0.0]]])
        found = NMS(detections=2).select(boxes, probabilities)
        self.assertAllEqual(found["count"], [2, 1])
        self.assertAllEqual(found["boxes"][1], [[7, 7, 17, 17], [0, 0, 0, 0]])

    def test_nothing_above_the_threshold(self):
        found = NMS(detections=4).select(self.BOXES, tf.fill([1, 3, 2], 0.01))
        for key, value in found.items():
            self.assertAllEqual(value, np.zeros(value.shape), msg=key)

    def test_nan_boxes_leave_zeros(self):
        boxes = tf.constant([[[float("nan")] * 4, [0, 1, 10, 11]]])
        found = NMS(detections=2).select(boxes, tf.constant([[[0.9], [0.8]]]))
        self.assertAllEqual(found["boxes"], [[[0, 1, 10, 11], [0, 0, 0, 0]]])
        self.assertAllClose(found["scores"], [[0.8, 0.0]])

    def test_only_the_best_candidates_compete(self):
        probabilities = tf.constant([[[0.9], [0.8], [0.7]]])
        found = NMS(detections=4, candidates=2).select(self.BOXES, probabilities)
        self.assertAllClose(found["scores"], [[0.9, 0, 0, 0]])

    def test_class_agnostic_suppression_leaves_one_class_a_place(self):
        probabilities = tf.constant([[[0.9, 0.02], [0.8, 0.85], [0.3, 0.4]]])
        found = NMS(detections=3, class_agnostic=True).select(self.BOXES, probabilities)
        self.assertAllEqual(found["boxes"], [[[0, 0, 10, 10], [50, 50, 60, 60], [0, 0, 0, 0]]])
        self.assertAllClose(found["scores"], [[0.9, 0.4, 0.0]])
        self.assertAllEqual(found["classes"], [[1, 2, 0]])

    def test_soft_suppression_lowers_scores_and_cuts_nothing(self):
        probabilities = tf.constant([[[0.9, 0.02], [0.8, 0.6], [0.3, 0.04]]])
        lowered = 0.8 * np.exp(-((9 / 11) ** 2) / 0.5)
        found = NMS(0.1, detections=5, soft_sigma=0.5).select(self.BOXES, probabilities)
        self.assertAllClose(found["scores"], [[0.9, 0.6, 0.3, lowered, 0.0]])
        self.assertAllEqual(found["classes"], [[1, 2, 1, 1, 0]])
        self.assertAllEqual(found["boxes"][0, 1:4], tf.gather(self.BOXES[0], [1, 2, 1]))
        self.assertAllEqual(found["count"], [4])

    def test_soft_and_class_agnostic(self):
        probabilities = tf.constant([[[0.9, 0.02], [0.01, 0.6], [0.3, 0.04]]])
        found = NMS(detections=3, soft_sigma=0.5, class_agnostic=True).select(self.BOXES, probabilities)
        self.assertAllClose(found["scores"], [[0.9, 0.3, 0.6 * np.exp(-((9 / 11) ** 2) / 0.5)]])
        self.assertAllEqual(found["classes"], [[1, 1, 2]])

    def test_graph_does_not_grow_with_the_classes(self):
        def graph_nodes(classes: int, **options) -> int:
            traced = tf.function(NMS(**options).select)
            signature = tf.TensorSpec([None, 300, 4]), tf.TensorSpec([None, 300, classes])
            graph = traced.get_concrete_function(*signature).graph.as_graph_def()
            return len(graph.node) + sum(len(function.node_def) for function in graph.library.function)

        for options in ({}, {"soft_sigma": 0.5}, {"class_agnostic": True}, {"soft_sigma": 0.5, "class_agnostic": True}):
            self.assertEqual(graph_nodes(2, **options), graph_nodes(1203, **options), options)
            self.assertLess(graph_nodes(1203, **options), 400, options)

    def test_1203_classes(self):
        rng = np.random.default_rng(3)
        boxes = random_boxes(rng, 1, 40, 1280)
        probabilities = rng.uniform(0, 1, [1, 40, 1203]).astype(np.float32) ** 20
        found = NMS(detections=300).select(tf.constant(boxes), tf.constant(probabilities))
        every = np.repeat(boxes[0], 1203, axis=0), probabilities.reshape(-1), np.tile(np.arange(1203), 40)
        best = np.argsort(-every[1])[:600]
        kept = best[slow_nms(every[0][best], every[1][best], every[2][best], 0.5, 300, 0.05)]
        self.assertAllEqual(found["classes"][0], every[2][kept] + 1)
        self.assertAllEqual(found["boxes"][0], every[0][kept])

    def test_what_makes_no_sense_is_refused_with_its_value(self):
        for arguments, message in (
            ({"iou": 1.5}, "NMS.iou is 1.5; it must be a number from 0 to 1"),
            ({"soft_sigma": -0.5}, "NMS.soft_sigma is -0.5; it must be a finite number of at least 0"),
            ({"detections": -1}, "NMS.detections is -1; it must be an integer from 1"),
        ):
            with self.assertRaisesRegex(ConfigError, message):
                NMS(**arguments)


if __name__ == "__main__":
    tf.test.main()
