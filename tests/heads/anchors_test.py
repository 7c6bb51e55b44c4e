import tensorflow as tf

from tf_frozen.errors import ConfigError
from tf_frozen.geometry.anchors import pyramid_anchors
from tf_frozen.heads.anchors import Anchors


class AnchorsTest(tf.test.TestCase):
    def test_as_many_a_place_as_octaves_and_ratios(self):
        anchors = Anchors(6.0, 2, (0.5, 1.0, 2.0))
        self.assertEqual(anchors.per_place, 6)
        found, expected = anchors((64, 96), (3, 5)), pyramid_anchors((64, 96), (3, 5), 6.0, 2, (0.5, 1.0, 2.0))
        self.assertAllEqual(found[3], expected[3])
        self.assertEqual(found[5].shape, (2 * 3 * 6, 4))

    def test_what_makes_no_sense_is_refused_with_its_value(self):
        for arguments, message in (
            ({"scale": 0}, "Anchors.scale is 0; it must be a finite number above 0"),
            ({"octaves": 0}, "Anchors.octaves is 0; it must be an integer from 1"),
            ({"ratios": (1.0, -2.0)}, r"Anchors.ratios is \(1.0, -2.0\); .* finite numbers above 0"),
            ({"ratios": ()}, r"Anchors.ratios is empty; give at least one"),
        ):
            with self.assertRaisesRegex(ConfigError, message):
                Anchors(**arguments)


if __name__ == "__main__":
    tf.test.main()
