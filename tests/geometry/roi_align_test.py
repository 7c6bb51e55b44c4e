"""RoIAlign on maps whose answer is known, against slow NumPy and Model Garden, its gradient by finite differences."""

import numpy as np
import tensorflow as tf
from official.vision.ops.spatial_transform_ops import multilevel_crop_and_resize

from tf_frozen.geometry.roi_align import roi_align


def slow_level(box: np.ndarray, levels: list[int]) -> int:
    """The level that a box is read from."""
    side = np.sqrt((box[2] - box[0]) * (box[3] - box[1]))
    return int(np.clip(np.floor(np.log2(max(side, 1e-9) / 224)) + 4, levels[0], levels[-1]))


def slow_point(features: np.ndarray, y: float, x: float, center: float) -> np.ndarray:
    """Bilinear value [C] at a point in cells; cell i's value is that of i + `center`."""
    height, width, _ = features.shape
    y, x = np.clip(y - center, 0, height - 1), np.clip(x - center, 0, width - 1)
    rows, columns = (
        np.maximum(0, 1 - abs(y - np.arange(height))),
        np.maximum(0, 1 - abs(x - np.arange(width))),
    )
    return np.einsum("i,j,ijc->c", rows, columns, features)


def slow_roi_align(pyramid, boxes, size: int, sampling: int, center: float) -> np.ndarray:
    """Features [B, n, size, size, C], one sample at a time."""
    levels = sorted(pyramid)
    channels = pyramid[levels[0]].shape[-1]
    output = np.zeros([*boxes.shape[:2], size, size, channels])
    for image, row in np.ndindex(boxes.shape[:2]):
        box = boxes[image, row].astype(np.float64)
        level = slow_level(box, levels)
        near, step = box[:2] / 2**level, (box[2:] - box[:2]) / 2**level / (size * sampling)
        for i, j, u, v in np.ndindex(size, size, sampling, sampling):
            point = near + step * (np.array([i, j]) * sampling + [u + 0.5, v + 0.5])
            output[image, row, i, j] += slow_point(pyramid[level][image], *point, center) / sampling**2
    return output


def random_pyramid(height: int, width: int, levels: range, channels: int = 3) -> dict[int, np.ndarray]:
    """Random maps of two images of a frame of height x width pixels."""
    rng = np.random.default_rng(0)
    return {
        level: rng.normal(size=[2, -(-height // 2**level), -(-width // 2**level), channels]).astype(np.float32)
        for level in levels
    }


BOXES = np.array(
    [
        [[10.3, 20.1, 60.7, 44.4], [0, 0, 100, 250], [3, 4, 8, 9], [90, 200, 100, 250]],
        [[-20, -30, 40, 50], [50, 60, 220, 300], [7, 8, 7, 8], [0, 0, 250, 250]],
    ],
    np.float32,
)


class RoiAlignTest(tf.test.TestCase):
    def test_against_slow_numpy(self):
        for frame, size, sampling in [
            ((96, 256), 7, 1),
            ((96, 256), 3, 2),
            ((100, 250), 4, 2),
            ((100, 250), 7, 1),
        ]:
            pyramid = random_pyramid(*frame, range(2, 6))
            for aligned in (True, False):
                expected = slow_roi_align(pyramid, BOXES, size, sampling, center=0.5 if aligned else 0.0)
                got = roi_align(pyramid, tf.constant(BOXES), size, sampling, aligned)
                self.assertAllClose(got, expected, atol=1e-4)

    def test_a_ramp_gives_the_sample_positions(self):
        # Where the feature is the pixel position itself, a bin's value is its centre.
        y, x = np.meshgrid(4 * np.arange(40) + 2.0, 4 * np.arange(50) + 2.0, indexing="ij")
        pyramid = {2: tf.constant(np.stack([y, x], axis=-1)[np.newaxis], tf.float32)}
        for sampling in (1, 2):
            got = roi_align(pyramid, tf.constant([[[20.0, 30, 90, 65]]]), 7, sampling)
            self.assertAllClose(got[0, 0, :, 3, 0], 20 + 10 * (np.arange(7) + 0.5), atol=1e-4)
            self.assertAllClose(got[0, 0, 3, :, 1], 30 + 5 * (np.arange(7) + 0.5), atol=1e-4)

    def test_level_of_each_box(self):
        pyramid = {level: tf.fill([1, 64 >> level, 64 >> level, 1], float(level)) for level in range(2, 6)}
        sides = [1.0, 55.9, 56.0, 111.9, 112.0, 223.9, 224.0, 447.9, 448.0, 5000.0]
        boxes = tf.constant([[[0, 0, side, side] for side in sides]], tf.float32)
        expected = [2, 2, 2, 2, 3, 3, 4, 4, 5, 5]
        self.assertAllEqual(roi_align(pyramid, boxes, 1)[0, :, 0, 0, 0], expected)
        # A long thin box counts by its area: 28 x 448 is 112 squared.
        self.assertAllEqual(roi_align(pyramid, tf.constant([[[0.0, 0, 28, 448]]]), 1), [[[[[3]]]]])
        narrow = {level: pyramid[level] for level in (3, 4)}
        self.assertAllEqual(roi_align(narrow, boxes, 1)[0, :, 0, 0, 0], np.clip(expected, 3, 4))

    def test_images_do_not_mix(self):
        pyramid = random_pyramid(96, 256, range(2, 5))
        both = roi_align(pyramid, tf.constant(BOXES))
        second = roi_align({level: features[1:] for level, features in pyramid.items()}, tf.constant(BOXES[1:]))
        self.assertAllClose(both[1:], second)

    def test_gradient_by_finite_differences(self):
        pyramid = random_pyramid(32, 32, range(3, 5), channels=2)
        boxes = tf.constant([[[1.0, 2, 30, 20]], [[0, 0, 250, 300]]])
        weights = tf.constant(np.random.default_rng(1).normal(size=[2, 1, 3, 3, 2]), tf.float32)
        for sampling in (1, 2):

            @tf.function
            def loss(fine, coarse, sampling=sampling):
                return tf.reduce_sum(weights * roi_align({3: fine, 4: coarse}, boxes, 3, sampling) ** 2)

            maps = [tf.constant(pyramid[3]), tf.constant(pyramid[4])]
            computed, numeric = tf.test.compute_gradient(loss, maps, delta=1e-2)
            for ours, differences in zip(computed, numeric, strict=True):
                self.assertAllClose(ours, differences, atol=2e-3)
                self.assertGreater(np.abs(ours).max(), 0.1)

    def test_no_gradient_flows_into_the_boxes(self):
        pyramid, boxes = random_pyramid(96, 256, range(2, 5)), tf.constant(BOXES)
        with tf.GradientTape() as tape:
            tape.watch(boxes)
            features = roi_align(pyramid, boxes)
        self.assertIsNone(tape.gradient(features, boxes))

    def test_half_precision(self):
        pyramid = random_pyramid(96, 256, range(2, 5))
        expected = roi_align(pyramid, tf.constant(BOXES))
        for dtype, tolerance in [(tf.float16, 0.01), (tf.bfloat16, 0.05)]:
            got = roi_align({level: tf.cast(pyramid[level], dtype) for level in pyramid}, tf.constant(BOXES))
            self.assertEqual(got.dtype, dtype)
            self.assertAllClose(tf.cast(got, tf.float32), expected, atol=tolerance)

    def test_a_nan_box_gives_nan_features_and_spoils_no_other(self):
        pyramid, boxes = random_pyramid(96, 256, range(2, 5)), BOXES.copy()
        expected = roi_align(pyramid, tf.constant(boxes)).numpy()
        boxes[1, 2] = np.nan
        got = roi_align(pyramid, tf.constant(boxes)).numpy()
        self.assertTrue(np.isnan(got[1, 2]).all())
        self.assertAllEqual(got[0], expected[0])
        self.assertAllEqual(got[1, 3], expected[1, 3])

    def test_traced_with_unknown_shapes_and_compiled(self):
        pyramid = tf.nest.map_structure(tf.constant, random_pyramid(96, 256, range(2, 5)))
        expected = roi_align(pyramid, tf.constant(BOXES))
        shapes = [
            {level: tf.TensorSpec([None, None, None, 3]) for level in pyramid},
            tf.TensorSpec([None, None, 4]),
        ]
        for traced in (
            tf.function(roi_align, input_signature=shapes),
            tf.function(roi_align, jit_compile=True),
        ):
            self.assertAllClose(traced(pyramid, tf.constant(BOXES)), expected, atol=1e-4)

    def test_no_boxes_no_features(self):
        self.assertEqual(roi_align(random_pyramid(96, 256, range(2, 5)), tf.zeros([2, 0, 4])).shape, [2, 0, 7, 7, 3])


class AgainstModelGardenTest(tf.test.TestCase):
    """Its cells' values belong to their upper left corners, so it is ours with `aligned` off."""

    def compare(self, frame, boxes):
        pyramid, boxes = random_pyramid(*frame, range(2, 6)), tf.constant(boxes, tf.float32)
        keyed = {str(level): tf.constant(features) for level, features in pyramid.items()}
        for size in (7, 14):
            expected = multilevel_crop_and_resize(keyed, boxes, size)
            self.assertAllClose(roi_align(pyramid, boxes, size, aligned=False), expected, rtol=0, atol=1e-4)
            self.assertNotAllClose(roi_align(pyramid, boxes, size), expected, rtol=0, atol=0.1)

    def test_boxes_of_all_sizes_at_borders_and_beyond(self):
        random = np.random.default_rng(3)
        near = random.uniform(0, [100, 220], [2, 200, 2])
        boxes = np.concatenate([near, near + np.exp(random.uniform(-3, 6, [2, 200, 2]))], -1)
        whole, tiny, point = [0, 0, 128, 256], [40.2, 50.7, 40.3, 50.8], [60, 70, 60, 70]
        corner, outside, padding = [120, 250, 128, 256], [130, 300, 400, 700], [0, 0, 0, 0]
        self.compare((128, 256), np.concatenate([boxes, [[whole, tiny, point, corner, outside, padding]] * 2], 1))

    def test_a_frame_that_strides_do_not_divide(self):
        """There Model Garden takes the last cells of coarse levels for those of the finest one's size over the stride,
        one cell short, so that boxes at the far borders are read wrong; these lie far enough from them."""
        near = np.random.default_rng(4).uniform(0, [50, 190], [2, 100, 2])
        self.compare((100, 250), np.concatenate([near, near + [18.0, 25.0]], -1))

    def test_beyond_the_near_border_model_garden_extrapolates(self):
        """A box that begins outside, which no clipped proposal does; ours holds the border's value there too."""
        ramp = tf.tile(tf.range(32.0)[tf.newaxis, :, tf.newaxis, tf.newaxis], [1, 1, 32, 1])
        box = tf.constant([[[-28.0, 0, 28, 56]]])
        theirs = multilevel_crop_and_resize({"2": ramp}, box)[0, 0, :, 0, 0]
        self.assertAllClose(theirs, [-6, -4, -2, 0, 2, 4, 6])
        self.assertAllClose(roi_align({2: ramp}, box, aligned=False)[0, 0, :, 0, 0], np.maximum(theirs, 0))


if __name__ == "__main__":
    tf.test.main()
