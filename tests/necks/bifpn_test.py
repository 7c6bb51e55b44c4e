import numpy as np
import tensorflow as tf

from tests.layer_suite import LayerSuite, VariantSuite
from tests.necks.pyramids import nothing, parameters, pyramid, shapes, to_identity
from tf_frozen.errors import ConfigError
from tf_frozen.keras_flavor import keras
from tf_frozen.necks.bifpn import BiFPN


class BiFPNSuiteTest(LayerSuite, tf.test.TestCase):
    """Channels above, equal to and below the filters, on images whose sides no power of two divides."""

    float32_outputs = False

    def layer(self):
        return BiFPN(8, repeats=1)

    def inputs(self, batch, size):
        return pyramid(batch, size, {3: 4, 4: 8, 5: 12})

    def shapes(self, batch, size):
        return shapes(batch, size, (3, 4, 5, 6, 7), 8)


class SoftmaxBiFPNTest(VariantSuite, tf.test.TestCase):
    """The backbone's levels alone, a group norm and dense convolutions."""

    def layer(self):
        norm = keras.layers.GroupNormalization(groups=2)
        return BiFPN(4, 1, 2, 4, "softmax", "relu", norm, separable=False)

    def inputs(self, batch, size):
        return pyramid(batch, size, {2: 4, 3: 3, 4: 5, 5: 6})

    def shapes(self, batch, size):
        return shapes(batch, size, (2, 3, 4), 4)


def plain(filters=1, repeats=1, **options):
    """A neck whose activations and norms do nothing."""
    return BiFPN(filters, repeats, activation="linear", norm=nothing(), separable=False, **options)


def flat(values):
    """Maps of one channel, each of one value, for a frame of 32 pixels."""
    return {level: tf.fill([1, 32 >> level, 32 >> level, 1], float(value)) for level, value in values.items()}


class BiFPNTest(tf.test.TestCase):
    def run_as_sums(self, neck, maps):
        """Outputs where each node's convolution hands on what comes in."""
        neck(maps)
        for conv in neck.convs.values():
            to_identity(conv)
        return neck(maps)

    def check(self, outputs, expected):
        self.assertEqual(sorted(outputs), sorted(expected))
        for level, value in expected.items():
            self.assertAllClose(outputs[level], tf.fill(outputs[level].shape, float(value)), rtol=1e-5)

    def test_a_cell_by_hand(self):
        """Levels of 1, 10 and 100; the third sum of a node is its level as it came in (figure 2 d)."""
        for fusion, two, three in (("sum", 1, 1), ("fast", 2.0001, 3.0001), ("softmax", 2, 3)):
            outputs = self.run_as_sums(plain(max_level=5, fusion=fusion), flat({3: 1, 4: 10, 5: 100}))
            middle = (10 + 100) / two
            third = (1 + middle) / two
            fourth = (10 + middle + third) / three
            self.check(outputs, {3: third, 4: fourth, 5: (100 + fourth) / two})

    def test_two_cells_by_hand(self):
        outputs = self.run_as_sums(plain(repeats=2, max_level=4, fusion="sum"), flat({3: 1, 4: 10}))
        # The first cell gives 11 and 21.
        self.check(outputs, {3: 32, 4: 53})

    def test_pools_by_three_with_stride_two(self):
        """A peak in the third of four rows is in both windows."""
        peak = np.zeros([1, 4, 4, 1], np.float32)
        peak[0, 2, 0] = 1.0
        outputs = self.run_as_sums(plain(max_level=4, fusion="sum"), {3: peak})
        self.assertAllEqual(outputs[3][0, :, :, 0], [[1, 1, 0, 0], [1, 1, 0, 0], [2, 1, 0, 0], [1, 1, 0, 0]])
        self.assertAllEqual(outputs[4][0, :, :, 0], [[3, 0], [3, 0]])

    def test_an_extra_level_is_projected_before_it_is_pooled(self):
        neck = plain(max_level=5, fusion="sum")
        maps = {3: tf.stack([tf.reshape(tf.range(16.0), [1, 4, 4]), tf.zeros([1, 4, 4])], -1)}
        self.run_as_sums(neck, maps)
        for name, first in (("down_3", 0.0), ("extra_4", -1.0)):
            neck.projections[name].set_weights([np.reshape([first, 5.0], [1, 1, 2, 1]), np.zeros(1)])
        # The negated map's windows are largest in their first cells: 0, -2, -8 and -10; then level 5 is 0.
        self.assertAllEqual(neck(maps)[3][0, ::2, ::2, 0], [[0, -2], [-8, -10]])

    def test_the_two_uses_of_a_level_have_projections_of_their_own(self):
        neck = BiFPN(8, 1)
        neck(pyramid(1, (64, 64), {3: 4, 4: 8, 5: 12}))
        self.assertEqual(set(neck.projections), {"down_3", "down_5", "up_5", "extra_6"})
        neck = BiFPN(8, 1, max_level=5)
        neck(pyramid(1, (64, 64), {3: 4, 4: 6, 5: 12}))
        self.assertEqual(set(neck.projections), {"down_3", "down_4", "up_4", "down_5", "up_5"})

    def test_every_level_hears_of_every_level(self):
        neck = BiFPN(4, 1, max_level=8)
        inputs = pyramid(1, (256, 256), {3: 4, 4: 4, 5: 4})
        before = neck(inputs)
        for changed in inputs:
            after = neck({**inputs, changed: inputs[changed] + 1.0})
            self.assertEqual([k for k in before if not np.array_equal(before[k], after[k])], [3, 4, 5, 6, 7, 8])

    def test_parameters_are_those_of_efficientdet(self):
        """What EfficientDet-D0's and -D6's totals leave after their bodies (B0 and B6) and heads."""
        neck = BiFPN(64, 3)
        neck(pyramid(1, (32, 32), {3: 40, 4: 112, 5: 320}))
        self.assertEqual(parameters(neck), 3_880_067 - 3_595_388 - 88_398)
        neck = BiFPN(384, 8, fusion="sum")
        neck(pyramid(1, (32, 32), {3: 72, 4: 200, 5: 576}))
        self.assertEqual(round((parameters(neck) + 39_403_992 + 1_883_982) / 1e6, 1), 51.9)

    def test_what_does_not_fit_is_refused_with_its_reason(self):
        with self.assertRaisesRegex(ConfigError, "BiFPN.fusion is 'slow'; .* one of 'fast', 'softmax', 'sum'"):
            BiFPN(fusion="slow")
        with self.assertRaisesRegex(ConfigError, "BiFPN.repeats is 0"):
            BiFPN(repeats=0)
        with self.assertRaisesRegex(ConfigError, "min_level and BiFPN.max_level are 4; .* two levels"):
            BiFPN(min_level=4, max_level=4)


if __name__ == "__main__":
    tf.test.main()
