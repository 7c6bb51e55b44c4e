"""Anchors are those of Model Garden, number by number and in its order."""

import tensorflow as tf
from official.vision.ops import anchor as model_garden

from tf_frozen.errors import ConfigError
from tf_frozen.geometry import anchors


class PyramidAnchorsTest(tf.test.TestCase):
    def test_same_as_model_garden(self):
        cases = [
            ((256, 256), (2, 6), 8.0, 1, (0.5, 1.0, 2.0)),
            ((384, 384), (3, 7), 4.0, 3, (0.5, 1.0, 2.0)),
            ((640, 800), (2, 6), 8.0, 1, (0.5, 1.0, 2.0)),
            ((333, 500), (3, 7), 4.0, 3, (0.5, 1.0, 2.0)),
            ((97, 131), (2, 6), 3.0, 2, (1.0, 2.0, 0.5, 0.25)),
            ((130, 40), (3, 7), 4.0, 1, (1.0,)),
        ]
        for size, (low, high), scale, octaves, ratios in cases:
            with self.subTest(size=size, levels=(low, high)):
                expected = model_garden.Anchor(low, high, octaves, list(ratios), scale, list(size)).multilevel_boxes
                ours = anchors.pyramid_anchors(size, range(low, high + 1), scale, octaves, ratios)
                self.assertEqual([str(level) for level in ours], list(expected))
                for level, boxes in ours.items():
                    self.assertAllClose(boxes, tf.reshape(expected[str(level)], [-1, 4]), rtol=1e-6, atol=2e-4)

    def test_sides_that_are_not_above_0(self):
        for arguments in ({"scale": -4.0}, {"scale": 0.0}, {"octaves": 0}, {"ratios": ()}, {"ratios": (1.0, -1.0)}):
            with self.subTest(arguments), self.assertRaisesRegex(ConfigError, "must be above 0"):
                anchors.pyramid_anchors((64, 64), [3], **arguments)

    def test_one_cell_by_hand(self):
        ours = anchors.pyramid_anchors((64, 64), [6], scale=0.5, octaves=1, ratios=(0.25, 1.0, 4.0))
        # Side 32: ratio 4 is twice as wide and half as high. The only cell's centre is (32, 32).
        self.assertAllClose(ours[6], [[0, 24, 64, 40], [16, 16, 48, 48], [24, 0, 40, 64]])

    def test_cells_agree_with_a_map_of_rounded_up_size(self):
        ours = anchors.pyramid_anchors((100, 70), [3, 5])
        self.assertEqual(ours[3].shape, (13 * 9 * 9, 4))
        self.assertEqual(ours[5].shape, (4 * 3 * 9, 4))


if __name__ == "__main__":
    tf.test.main()
