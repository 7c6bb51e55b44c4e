import numpy as np
import tensorflow as tf
from official.vision.modeling.decoders.nasfpn import NASFPN as ModelGardenNASFPN
from official.vision.modeling.decoders.nasfpn import NASFPN_BLOCK_SPECS

from tests.layer_suite import LayerSuite, VariantSuite
from tests.necks.pyramids import RESNET_CHANNELS, copy_shaken, nothing, parameters, pyramid, shapes, to_identity
from tf_frozen.errors import ConfigError
from tf_frozen.keras_flavor import keras
from tf_frozen.necks.block_specs import PAPER_BLOCK_SPECS, nodes_of
from tf_frozen.necks.nas_fpn import NASFPN


class NASFPNSuiteTest(LayerSuite, tf.test.TestCase):
    """Channels above, equal to and below the filters, on images whose sides no power of two divides."""

    float32_outputs = False

    def layer(self):
        return NASFPN(filters=8, repeats=1)

    def inputs(self, batch, size):
        return pyramid(batch, size, {3: 4, 4: 8, 5: 12})

    def shapes(self, batch, size):
        return shapes(batch, size, (3, 4, 5, 6, 7), 8)


class SeparableNASFPNTest(VariantSuite, tf.test.TestCase):
    """A group norm, four levels from 2, and a custom cell."""

    block_specs = (
        (0, "sum", (0, 1), True),
        (1, "attention", (4, 2), True),
        (2, "sum", (5, 2), True),
        (3, "sum", (3, 6), True),
    )

    def layer(self):
        norm = keras.layers.GroupNormalization(groups=2)
        return NASFPN(6, 2, 2, 5, self.block_specs, "relu", norm, separable=True)

    def inputs(self, batch, size):
        return pyramid(batch, size, {2: 4, 3: 6, 4: 6, 5: 3})

    def shapes(self, batch, size):
        return shapes(batch, size, (2, 3, 4, 5), 6)


class BottleneckNASFPNTest(VariantSuite, tf.test.TestCase):
    """Two cells of two nodes, so that nodes take in the neck's inputs, each other and another cell's outputs."""

    block_specs = ((0, "sum", (0, 1), True), (1, "attention", (2, 0), True))

    def layer(self):
        return NASFPN(4, 2, 3, 4, self.block_specs, bottleneck=True)

    def inputs(self, batch, size):
        return pyramid(batch, size, {3: 4, 4: 3})

    def shapes(self, batch, size):
        return shapes(batch, size, (3, 4), 16)


class AgainstModelGardenTest(tf.test.TestCase):
    # At 256 filters alone: with any other number Model Garden projects nearly every edge to 256 channels, since its
    # nodes' inputs are resampled to a fixed 256 (decoders/nasfpn.py), which the paper does not.

    def test_parameters_and_outputs_are_those_of_the_paper_s_neck(self):
        inputs = pyramid(2, (128, 128), RESNET_CHANNELS)
        ours = NASFPN()
        ours(inputs)
        self.assertEqual(round(parameters(ours) / 1e6, 3), 21.591)
        theirs = ModelGardenNASFPN(
            {str(level): x.shape for level, x in inputs.items()},
            activation="swish",
            norm_momentum=0.9,
            norm_epsilon=1e-4,
        )
        _copy_weights(theirs, ours)
        keyed = {str(level): x for level, x in inputs.items()}
        for training in (False, True):
            expected, outputs = theirs(keyed, training=training), ours(inputs, training=training)
            self.assertEqual(sorted(outputs), [3, 4, 5, 6, 7])
            for level, output in outputs.items():
                self.assertAllClose(output, expected[str(level)], rtol=1e-4, atol=1e-4)

    def test_seven_repeats_have_the_paper_s_parameters(self):
        neck = NASFPN(repeats=7)
        neck(pyramid(1, (32, 32), RESNET_CHANNELS))
        self.assertEqual(round(parameters(neck) / 1e6, 3), 29.859)


class NASFPNTest(tf.test.TestCase):
    def test_a_narrow_neck_has_no_convolution_but_projections_and_nodes(self):
        neck = NASFPN(filters=64, repeats=3)
        neck(pyramid(1, (64, 64), {3: 40, 4: 112, 5: 320}))
        projections = (40 + 112 + 320) * 64 + 3 * 3 * 64
        self.assertEqual(parameters(neck), projections + 3 * 7 * (3 * 3 * 64 * 64 + 3 * 64))

    def test_levels_from_2_to_6(self):
        outputs = NASFPN(16, 1, min_level=2, max_level=6)(pyramid(1, (64, 96), {2: 24, 3: 40, 4: 112, 5: 320}))
        self.assertEqual({k: tuple(v.shape) for k, v in outputs.items()}, shapes(1, (64, 96), range(2, 7), 16))

    def test_levels_below_the_neck_s_are_left_out(self):
        outputs = NASFPN(8, 1)(pyramid(1, (64, 64), {2: 4, 3: 4, 4: 4, 5: 4}))
        self.assertEqual(sorted(outputs), [3, 4, 5, 6, 7])

    def test_a_one_node_cell_by_hand(self):
        """Level 3 adds what level 4 holds to each of its four cells; activation, convolution and norm do nothing."""
        neck = NASFPN(1, 1, 3, 4, ((0, "sum", (0, 1), True), (1, "sum", (1, 2), True)), "linear", nothing())
        maps = {3: tf.reshape(tf.range(4.0), [1, 2, 2, 1]), 4: tf.fill([1, 1, 1, 1], 10.0)}
        neck(maps)
        _pass_on(neck)
        outputs = neck(maps)
        self.assertAllClose(outputs[3][0, :, :, 0], [[10.0, 11.0], [12.0, 13.0]])
        self.assertAllClose(outputs[4][0, :, :, 0], [[10.0 + 13.0]])

    def test_attention_is_led_by_the_coarser_level_in_either_order(self):
        fine, coarse = np.float32([[0, 1], [2, 3]]), 0.5
        for inputs in ((0, 1), (1, 0)):
            neck = NASFPN(1, 1, 3, 4, ((0, "attention", inputs, True), (1, "sum", (1, 1), True)), "linear", nothing())
            maps = {3: fine.reshape([1, 2, 2, 1]), 4: np.full([1, 1, 1, 1], coarse, np.float32)}
            neck(maps)
            _pass_on(neck)
            expected = coarse + fine / (1 + np.exp(-coarse))
            self.assertAllClose(neck(maps)[3][0, :, :, 0], expected)

    def test_what_does_not_fit_is_refused_with_its_reason(self):
        with self.assertRaisesRegex(ConfigError, r"min_level is 3, but the pyramid .* levels \[4, 5\]"):
            NASFPN(8, 1)(pyramid(1, (64, 64), {4: 4, 5: 4}))
        wrong = {
            r"node 1 is .*5, 'sum'.*step above min_level must lie in 0…4": (1, (5, "sum", (1, 5), False)),
            r"node 0 is .*'mean'.*operation in \('sum', 'attention'\)": (0, (1, "mean", (1, 3), False)),
            r"node 2 is .*inputs in 0…6": (2, (0, "sum", (0, 7), True)),
            r"node 3 is .*must be of the form \(step": (3, (1, "sum", (6, 7))),
            r"node 4 is .*\(input, input\)": (4, (2, "sum", (6, 7, 8), True)),
        }
        for message, (index, node) in wrong.items():
            specs = [*PAPER_BLOCK_SPECS[:index], node, *PAPER_BLOCK_SPECS[index + 1 :]]
            with self.assertRaisesRegex(ConfigError, message):
                NASFPN(block_specs=specs)
        with self.assertRaisesRegex(ConfigError, "last 5 nodes must be one for each of the 5 levels"):
            NASFPN(block_specs=PAPER_BLOCK_SPECS[:6])
        with self.assertRaisesRegex(ConfigError, "NASFPN.repeats is 0"):
            NASFPN(repeats=0)

    def test_published_block_specs_have_levels_for_steps(self):
        steps = [(level - 3, *rest) for level, *rest in NASFPN_BLOCK_SPECS]
        self.assertEqual(NASFPN(block_specs=steps).block_specs, PAPER_BLOCK_SPECS)
        with self.assertRaisesRegex(
            ConfigError, "A published list has levels, from which min_level must be subtracted"
        ):
            NASFPN(block_specs=NASFPN_BLOCK_SPECS)

    def test_an_output_adds_what_nothing_took_in(self):
        """Level 5 of the inputs is left over for the node of level 5, and level 7 for that of level 7."""
        nodes = nodes_of(PAPER_BLOCK_SPECS, 5)
        self.assertEqual([node.leftovers for node in nodes], [(), (), (), (), (2,), (4,), ()])
        nodes = nodes_of(((0, "sum", (1, 1), False), (0, "sum", (2, 1), True), (1, "sum", (3, 1), True)), 2)
        self.assertEqual([node.leftovers for node in nodes], [(), (0,), ()])

    def test_bottleneck_nodes_project_what_comes_from_nodes(self):
        """10 edges of the first of the paper's cells come from nodes, and all 16 of the second."""
        neck = NASFPN(8, 2, bottleneck=True)
        outputs = neck(pyramid(1, (64, 64), {3: 6, 4: 8, 5: 10}))
        self.assertEqual({level: x.shape[-1] for level, x in outputs.items()}, dict.fromkeys((3, 4, 5, 6, 7), 32))
        inputs = (6 + 10) * 8 + 2 * 3 * 8
        edges = (10 + 16) * (32 * 8 + 3 * 8)
        nodes = 2 * 7 * (8 * 8 + 9 * 8 * 8 + 2 * 8 * 32 + 2 * (8 + 8 + 32 + 32))
        self.assertEqual(parameters(neck), inputs + edges + nodes)

    def test_the_paper_s_cell_needs_five_levels(self):
        with self.assertRaises(ConfigError):
            NASFPN(max_level=6)


def _pass_on(neck):
    for conv in neck.convs:
        to_identity(conv)


def _copy_weights(source, target):
    """Copies Model Garden's weights in the order in which it makes its layers."""
    convs, norms = (
        [layer for layer in source.layers if type(layer).__name__ == kind] for kind in ("Conv2D", "BatchNormalization")
    )
    in_order = [sorted(layers, key=_creation) for layers in (convs, norms)]
    order = ("3", "4", "5")
    mine = (
        [target.projections[level] for level in order] + target.convs,
        [target.projection_norms[level] for level in order] + target.norms,
    )
    for theirs, ours in zip(in_order, mine, strict=True):
        for source_layer, target_layer in zip(theirs, ours, strict=True):
            copy_shaken(source_layer, target_layer)


def _creation(layer):
    return int(layer.name.rpartition("_")[2]) if layer.name[-1].isdigit() and "_" in layer.name else 0


if __name__ == "__main__":
    tf.test.main()
