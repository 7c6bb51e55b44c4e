"""Suppression against worked examples and against the definition in slow NumPy."""

import numpy as np
import tensorflow as tf

from tf_frozen.geometry import nms


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of two boxes, in double precision."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    height, width = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    shared = max(height, 0.0) * max(width, 0.0)
    return shared / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - shared)


def slow_nms(boxes, scores, groups, iou, maximum, score_threshold) -> list[int]:
    """Indices kept in one image, best first."""
    kept: list[int] = []
    for i in np.argsort(-scores, kind="stable"):
        rivals = [j for j in kept if groups[j] == groups[i] and overlap(boxes[i], boxes[j]) > iou]
        if scores[i] > score_threshold and not rivals and len(kept) < maximum:
            kept.append(int(i))
    return kept


def slow_soft_nms(boxes, scores, groups, sigma, maximum, score_threshold) -> tuple[list[int], list[float]]:
    """Indices kept in one image, best first, and their lowered scores (Bodla et al. 2017, figure 2)."""
    left, kept, lowered = {i: float(score) for i, score in enumerate(scores)}, [], []
    while len(kept) < maximum and left and max(left.values()) > score_threshold:
        best = max(left, key=left.get)
        kept.append(best)
        lowered.append(left.pop(best))
        for i in left:
            if groups[i] == groups[best]:
                left[i] *= np.exp(-(overlap(boxes[best], boxes[i]) ** 2) / sigma)
    return kept, lowered


def random_boxes(rng: np.random.Generator, images: int, count: int, frame: float) -> np.ndarray:
    """Boxes [images, count, 4] of 4 pixels to a third of the frame."""
    near = rng.uniform(0, frame * 0.6, [images, count, 2])
    side = np.exp(rng.uniform(np.log(4), np.log(frame / 3), [images, count, 2]))
    return np.concatenate([near, near + side], axis=-1).astype(np.float32)


class BatchedNmsTest(tf.test.TestCase):
    def kept(self, boxes, scores, groups, iou=0.5, maximum=10, score_threshold=0.0) -> list[list[int]]:
        """Indices kept in each image; checks what follows them."""
        indices, valid = nms.batched_nms(
            tf.constant(boxes, tf.float32),
            tf.constant(scores, tf.float32),
            tf.constant(groups, tf.int32),
            iou,
            maximum,
            score_threshold,
        )
        self.assertEqual(indices.shape, (len(boxes), maximum))
        counts = valid.numpy().sum(axis=1)
        self.assertAllEqual(valid, np.arange(maximum) < counts[:, np.newaxis])
        self.assertAllEqual(indices.numpy()[~valid.numpy()], np.zeros(np.sum(~valid.numpy())))
        return [list(row[:count]) for row, count in zip(indices.numpy(), counts, strict=True)]

    def test_worked_example(self):
        # Overlap with the first: 90/110 = 0.82, 50/150 = 0.33, 0. The third and the second: 60/140 = 0.43.
        boxes = [[[0, 0, 10, 10], [0, 1, 10, 11], [0, 5, 10, 15], [30, 30, 40, 40]]]
        scores, together = [[0.9, 0.8, 0.7, 0.6]], [[0, 0, 0, 0]]
        self.assertEqual(self.kept(boxes, scores, together), [[0, 2, 3]])
        self.assertEqual(self.kept(boxes, scores, together, iou=0.85), [[0, 1, 2, 3]])
        self.assertEqual(self.kept(boxes, scores, together, iou=0.3), [[0, 3]])
        self.assertEqual(self.kept(boxes, [[0.8, 0.9, 0.7, 0.95]], together, iou=0.4), [[3, 1]])
        self.assertEqual(self.kept(boxes, scores, together, maximum=2), [[0, 2]])
        self.assertEqual(self.kept(boxes, scores, together, score_threshold=0.65), [[0, 2]])
        self.assertEqual(self.kept(boxes, scores, [[0, 1, 0, 1]], iou=0.3), [[0, 1, 3]])

    def test_a_suppressed_box_suppresses_nothing(self):
        # A chain: each overlaps its neighbour by 60/140, the first and the last by 20/180.
        boxes = [[[0, 0, 10, 10], [0, 4, 10, 14], [0, 8, 10, 18]]]
        self.assertEqual(self.kept(boxes, [[0.9, 0.8, 0.7]], [[0, 0, 0]], iou=0.4), [[0, 2]])

    def test_against_the_definition(self):
        rng = np.random.default_rng(0)
        for count, groups, frame, iou in [(60, 1, 100, 0.5), (200, 4, 384, 0.7), (300, 90, 1333, 0.3)]:
            boxes = random_boxes(rng, 3, count, frame)
            scores = rng.uniform(0, 1, [3, count]).astype(np.float32)
            classes = rng.integers(0, groups, [3, count])
            expected = [slow_nms(*image, iou, 100, 0.1) for image in zip(boxes, scores, classes, strict=True)]
            self.assertEqual(self.kept(boxes, scores, classes, iou, 100, 0.1), expected)

    def test_small_boxes_of_many_classes_in_a_large_frame(self):
        # Two boxes of 4 x 4 pixels, one d below or to the right of the other, overlap by (4 - d) / (4 + d):
        # 0.5094 for d = 1.30, 0.4898 for d = 1.37. Rounded to eighths of a pixel, 1.30 becomes 1.25 or 1.375.
        classes, frame = 1203, 1280
        shift = np.where(np.arange(classes) % 2 == 0, 1.30, 1.37)
        near = np.random.default_rng(1).uniform(0, frame - 6, [classes, 2])
        # Boxes at both corners of the frame make the cells as large as they get.
        near[0] = 0.0
        near[1202] = frame - 6
        first = np.concatenate([near, near + 4], axis=-1)
        downwards = np.arange(classes)[:, np.newaxis] % 4 < 2
        second = first + shift[:, np.newaxis] * np.where(downwards, [1, 0, 1, 0], [0, 1, 0, 1])
        kept = self.kept(
            [np.concatenate([first, second])],
            [np.concatenate([np.full(classes, 0.9), np.full(classes, 0.8)])],
            [np.tile(np.arange(classes), 2)],
            maximum=2 * classes,
        )[0]
        suppressed = sorted(set(range(2 * classes)) - set(kept))
        self.assertEqual(suppressed, [classes + k for k in range(0, classes, 2)])

    def test_boxes_that_reach_over_the_frame(self):
        boxes = [[[-50, -50, 10, 10], [-51, -50, 10, 10], [2000, 2000, 2100, 2100], [-50, -50, 10, 10]]]
        self.assertEqual(self.kept(boxes, [[0.9, 0.8, 0.7, 0.6]], [[3, 3, 3, 2]]), [[0, 2, 3]])

    def test_empty_and_nan_boxes_and_scores_never_come_out(self):
        nan = float("nan")
        boxes = [[[5, 5, 5, 9], [0, 0, 0, 0], [0, 0, 10, 10], [0, 0, nan, 10], [9, 9, 2, 2], [50, 50, 60, 60]]]
        boxes = [*boxes, [[nan] * 4] * 6]
        scores = [[0.9, 0.9, 0.8, 0.9, 0.9, nan], [0.9] * 6]
        for threshold in (0.0, float("-inf")):
            self.assertEqual(self.kept(boxes, scores, np.zeros([2, 6]), score_threshold=threshold), [[2], []])

    def test_no_boxes(self):
        self.assertEqual(self.kept(np.zeros([2, 0, 4]), np.zeros([2, 0]), np.zeros([2, 0])), [[], []])

    def test_traced_and_compiled(self):
        rng = np.random.default_rng(2)
        boxes = tf.constant(random_boxes(rng, 2, 50, 200))
        scores = tf.constant(rng.uniform(size=[2, 50]), tf.float32)
        groups = tf.constant(rng.integers(0, 3, [2, 50]), tf.int32)
        expected = nms.batched_nms(boxes, scores, groups, 0.5, 20, 0.2)

        def run(boxes, scores, groups):
            return nms.batched_nms(boxes, scores, groups, 0.5, 20, 0.2)

        shapes = [
            tf.TensorSpec([None, None, 4]),
            tf.TensorSpec([None, None]),
            tf.TensorSpec([None, None], tf.int32),
        ]
        for traced in (tf.function(run, input_signature=shapes), tf.function(run, jit_compile=True)):
            self.assertAllEqual(traced(boxes, scores, groups)[0], expected[0])
            self.assertAllEqual(traced(boxes, scores, groups)[1], expected[1])


class BatchedSoftNmsTest(tf.test.TestCase):
    def kept(self, boxes, scores, groups, sigma=0.5, maximum=10, score_threshold=0.0):
        """Indices kept in each image and their scores; checks what follows them."""
        indices, valid, lowered = nms.batched_soft_nms(
            tf.constant(boxes, tf.float32),
            tf.constant(scores, tf.float32),
            tf.constant(groups, tf.int32),
            sigma,
            maximum,
            score_threshold,
        )
        self.assertEqual((indices.shape, lowered.shape), ((len(boxes), maximum),) * 2)
        counts = valid.numpy().sum(axis=1)
        self.assertAllEqual(valid, np.arange(maximum) < counts[:, np.newaxis])
        self.assertAllEqual(indices.numpy()[~valid.numpy()], np.zeros(np.sum(~valid.numpy())))
        rows = zip(indices.numpy(), lowered.numpy(), counts, strict=True)
        return [(list(index[:count]), list(score[:count])) for index, score, count in rows]

    def test_worked_example(self):
        # Overlaps: first and second 90/110, first and third 50/150, second and third 60/140.
        boxes = [[[0, 0, 10, 10], [0, 1, 10, 11], [0, 5, 10, 15], [30, 30, 40, 40]]]
        scores = [[0.9, 0.8, 0.7, 0.6]]
        third = 0.7 * np.exp(-((1 / 3) ** 2) / 0.5)
        second = 0.8 * np.exp(-((9 / 11) ** 2) / 0.5)
        ((kept, lowered),) = self.kept(boxes, scores, [[0, 0, 0, 0]])
        self.assertEqual(kept, [0, 3, 2, 1])
        self.assertAllClose(lowered, [0.9, 0.6, third, second * np.exp(-((3 / 7) ** 2) / 0.5)])
        ((kept, lowered),) = self.kept(boxes, scores, [[0, 1, 0, 1]], score_threshold=0.57)
        self.assertEqual(kept, [0, 1, 3])  # 0.7 has become 0.56
        self.assertAllClose(lowered, [0.9, 0.8, 0.6])

    def test_against_the_definition(self):
        rng = np.random.default_rng(0)
        for count, groups, frame, sigma in [(60, 1, 100, 0.5), (200, 4, 384, 0.3), (300, 90, 1333, 1.0)]:
            boxes = random_boxes(rng, 3, count, frame)
            scores = rng.uniform(0, 1, [3, count]).astype(np.float32)
            classes = rng.integers(0, groups, [3, count])
            found = self.kept(boxes, scores, classes, sigma, 100, 0.1)
            for image, (kept, lowered) in zip(zip(boxes, scores, classes, strict=True), found, strict=True):
                expected = slow_soft_nms(*image, sigma, 100, 0.1)
                self.assertEqual(kept, expected[0])
                self.assertAllClose(lowered, expected[1], rtol=1e-5)

    def test_against_the_kernel(self):
        """TensorFlow's sigma is half of the paper's; an IoU threshold of 1 keeps it from cutting."""
        rng = np.random.default_rng(4)
        boxes, scores = random_boxes(rng, 1, 200, 300), rng.uniform(0, 1, [1, 200]).astype(np.float32)
        kernel = tf.raw_ops.NonMaxSuppressionV5(
            boxes=boxes[0],
            scores=scores[0],
            max_output_size=100,
            iou_threshold=1.0,
            score_threshold=0.05,
            soft_nms_sigma=0.25,
        )
        ((kept, lowered),) = self.kept(boxes, scores, np.zeros([1, 200]), 0.5, 100, 0.05)
        self.assertAllEqual(kept, kernel.selected_indices)
        self.assertAllClose(lowered, kernel.selected_scores, rtol=1e-5)

    def test_a_sigma_near_zero_suppresses_all_that_overlap(self):
        boxes = [[[0, 0, 10, 10], [0, 1, 10, 11], [0, 9, 10, 19], [30, 30, 40, 40]]]
        for threshold in (0.0, 1e-30):
            ((kept, lowered),) = self.kept(boxes, [[0.9, 0.8, 0.7, 0.6]], [[0] * 4], 1e-6, 4, threshold)
            self.assertEqual(kept, [0, 3])
            self.assertAllClose(lowered, [0.9, 0.6])

    def test_empty_and_nan_boxes_and_scores_never_come_out(self):
        nan = float("nan")
        boxes = [[[50, 50, 60, 60], [0, 0, 0, 0], [0, 0, 10, 10], [0, 0, nan, 10], [9, 9, 2, 2], [5, 5, 5, 9]]]
        boxes = [*boxes, [[nan] * 4] * 6]
        scores = [[nan, 0.9, 0.8, 0.9, 0.9, 0.9], [0.9] * 6]
        for threshold in (0.0, float("-inf")):
            found = self.kept(boxes, scores, np.zeros([2, 6]), score_threshold=threshold)
            self.assertEqual([kept for kept, _ in found], [[2], []])
        compiled = tf.function(nms.batched_soft_nms, jit_compile=True)
        indices, valid, _ = compiled(tf.constant(boxes), tf.constant(scores), tf.zeros([2, 6], tf.int32), 0.5, 3)
        self.assertAllEqual(valid, [[True, False, False], [False] * 3])
        self.assertEqual(indices[0, 0], 2)

    def test_no_boxes(self):
        self.assertEqual(self.kept(np.zeros([2, 0, 4]), np.zeros([2, 0]), np.zeros([2, 0])), [([], [])] * 2)

    def test_traced_and_compiled(self):
        rng = np.random.default_rng(2)
        boxes = tf.constant(random_boxes(rng, 2, 50, 200))
        scores = tf.constant(rng.uniform(size=[2, 50]), tf.float32)
        groups = tf.constant(rng.integers(0, 3, [2, 50]), tf.int32)

        def run(boxes, scores, groups):
            return nms.batched_soft_nms(boxes, scores, groups, 0.5, 20, 0.2)

        expected = run(boxes, scores, groups)
        shapes = [
            tf.TensorSpec([None, None, 4]),
            tf.TensorSpec([None, None]),
            tf.TensorSpec([None, None], tf.int32),
        ]
        for traced in (tf.function(run, input_signature=shapes), tf.function(run, jit_compile=True)):
            for found, value in zip(traced(boxes, scores, groups), expected, strict=True):
                self.assertAllClose(found, value, rtol=1e-5)


if __name__ == "__main__":
    tf.test.main()
