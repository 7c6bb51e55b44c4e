import numpy as np
import tensorflow as tf
from official.vision.modeling.decoders.fpn import FPN as ModelGardenFPN

from tests.layer_suite import LayerSuite, VariantSuite
from tests.necks.pyramids import RESNET_CHANNELS, copy_shaken, nothing, parameters, pyramid, shapes, to_identity
from tf_frozen.errors import ConfigError
from tf_frozen.keras_flavor import keras
from tf_frozen.necks.fpn import FPN


class FPNSuiteTest(LayerSuite, tf.test.TestCase):
    """Two levels above the backbone's, on images whose sides no power of two divides."""

    float32_outputs = False

    def layer(self):
        return FPN(8, 3, 7)

    def inputs(self, batch, size):
        return pyramid(batch, size, {2: 3, 3: 4, 4: 8, 5: 12})

    def shapes(self, batch, size):
        return shapes(batch, size, (3, 4, 5, 6, 7), 8)


class SeparableConcatFPNTest(VariantSuite, tf.test.TestCase):
    """Fewer levels than the backbone has, a group norm, and levels beside each other."""

    def layer(self):
        return FPN(4, 2, 4, "concat", "relu", keras.layers.GroupNormalization(groups=2), separable=True)

    def inputs(self, batch, size):
        return pyramid(batch, size, {2: 4, 3: 6, 4: 3, 5: 5})

    def shapes(self, batch, size):
        return shapes(batch, size, (2, 3, 4), 4)


class AgainstModelGardenTest(tf.test.TestCase):
    def test_outputs_are_those_of_the_paper_s_neck(self):
        for options in ({}, {"min_level": 3, "max_level": 7}, {"fusion": "concat"}, {"separable": True}):
            with self.subTest(options):
                self.compare(**options)

    def compare(self, min_level=2, max_level=6, fusion="sum", separable=False):
        inputs = pyramid(2, (128, 64), {2: 8, 3: 16, 4: 24, 5: 32})
        ours = FPN(32, min_level, max_level, fusion, separable=separable)
        ours(inputs)
        theirs = ModelGardenFPN(
            {str(level): x.shape for level, x in inputs.items()},
            min_level,
            max_level,
            num_filters=32,
            fusion_type=fusion,
            use_separable_conv=separable,
            activation="swish",
            norm_momentum=0.9,
            norm_epsilon=1e-4,
        )
        self.assertEqual(parameters(ours), parameters(theirs))
        parts = {"lateral": ours.laterals, "post_hoc": ours.convs, "coarser": ours.extra, "norm": ours.norms}
        for part, layers in parts.items():
            for level, layer in layers.items():
                copy_shaken(theirs.get_layer(f"{part}_{level}"), layer)
        keyed = {str(level): x for level, x in inputs.items()}
        for training in (False, True):
            expected, outputs = theirs(keyed, training=training), ours(inputs, training=training)
            self.assertEqual(sorted(map(str, outputs)), sorted(expected))
            for level, output in outputs.items():
                self.assertAllClose(output, expected[str(level)], rtol=1e-4, atol=1e-4)
        for level, norm in ours.norms.items():
            self.assertAllClose(norm.moving_mean, theirs.get_layer(f"norm_{level}").moving_mean, rtol=1e-4, atol=1e-4)


class FPNTest(tf.test.TestCase):
    def test_parameters_are_those_of_the_paper_s_neck(self):
        for levels, expected in (((2, 6), 3.937), ((3, 7), 3.871)):
            neck = FPN(256, *levels)
            neck(pyramid(1, (64, 64), RESNET_CHANNELS))
            self.assertEqual(round(parameters(neck) / 1e6, 3), expected)

    def test_levels_by_hand_where_two_does_not_divide_the_finer_side(self):
        """Three rows of two columns: the rows nearest to the coarser map's two are the first, second and second."""
        neck = FPN(1, 3, 5, activation="relu", norm=nothing())
        maps = {3: tf.reshape(tf.range(6.0), [1, 3, 2, 1]), 4: tf.reshape([10.0, -20.0], [1, 2, 1, 1])}
        neck(maps)
        for conv in [*neck.laterals.values(), *neck.convs.values(), *neck.extra.values()]:
            to_identity(conv)
        outputs = neck(maps)
        self.assertAllClose(outputs[3][0, :, :, 0], [[10, 11], [2 - 20, 3 - 20], [4 - 20, 5 - 20]])
        self.assertAllClose(outputs[4][0, :, :, 0], [[10], [-20]])
        # Padded below only, the one window of stride 2 has the second row in its centre.
        self.assertAllClose(outputs[5][0, :, :, 0], [[-20]])

    def test_only_levels_after_the_first_extra_one_are_activated_before_their_convolution(self):
        for value, expected in ((-3.0, [-3.0, 0.0]), (3.0, [3.0, 3.0])):
            neck = FPN(1, 3, 5, activation="relu", norm=nothing())
            maps = {3: tf.fill([1, 1, 1, 1], value)}
            neck(maps)
            for conv in [*neck.laterals.values(), *neck.convs.values(), *neck.extra.values()]:
                to_identity(conv)
            outputs = neck(maps)
            self.assertAllClose([float(tf.squeeze(outputs[level])) for level in (4, 5)], expected)

    def test_a_level_hears_of_those_above_and_of_none_below(self):
        neck = FPN(4, 3, 6)
        inputs = pyramid(1, (64, 64), {3: 4, 4: 4, 5: 4})
        before = neck(inputs)
        for changed, reached in ((3, [3]), (4, [3, 4]), (5, [3, 4, 5, 6])):
            after = neck({**inputs, changed: inputs[changed] + 1.0})
            self.assertEqual([k for k in before if not np.array_equal(before[k], after[k])], reached)

    def test_what_does_not_fit_is_refused_with_its_reason(self):
        with self.assertRaisesRegex(ConfigError, "FPN.fusion is 'mean'; it must be one of 'sum', 'concat'"):
            FPN(fusion="mean")
        with self.assertRaisesRegex(ConfigError, r"FPN.min_level is 2, but the pyramid .* levels \[3, 4\]"):
            FPN(8)(pyramid(1, (64, 64), {3: 4, 4: 4}))


if __name__ == "__main__":
    tf.test.main()
