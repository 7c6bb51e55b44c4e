import numpy as np
import tensorflow as tf
from official.vision.modeling.decoders.nasfpn import NASFPN as ModelGardenNASFPN

from tests.layer_suite import LayerSuite
from tf_frozen.errors import ConfigError
from tf_frozen.keras_flavor import keras
from tf_frozen.necks.nas_fpn import NASFPN, PAPER_CELL

RESNET_CHANNELS = {3: 512, 4: 1024, 5: 2048}


def pyramid(batch, size, channels):
    """Random maps of a backbone's levels for images of `size`."""
    shapes = {level: [-(-side // 2**level) for side in size] for level in channels}
    return {
        level: tf.random.stateless_normal([batch, *shapes[level], count], [level, 1])
        for level, count in channels.items()
    }


def shapes(batch, size, levels, filters):
    return {level: (batch, *(-(-side // 2**level) for side in size), filters) for level in levels}


class NASFPNSuiteTest(LayerSuite, tf.test.TestCase):
    """Channels above, equal to and below the filters, on images whose sides no power of two divides."""

    float32_outputs = False

    def layer(self):
        return NASFPN(filters=8, repeats=1)

    def inputs(self, batch, size):
        return pyramid(batch, size, {3: 4, 4: 8, 5: 12})

    def shapes(self, batch, size):
        return shapes(batch, size, (3, 4, 5, 6, 7), 8)


class SeparableNASFPNTest(LayerSuite, tf.test.TestCase):
    """A group norm, four levels from 2, and a cell of its own."""

    float32_outputs = False
    cell = (
        (0, "sum", (0, 1), True),
        (1, "attention", (4, 2), True),
        (2, "sum", (5, 2), True),
        (3, "sum", (3, 6), True),
    )

    def layer(self):
        norm = keras.layers.GroupNormalization(groups=2)
        return NASFPN(6, 2, 2, 5, self.cell, "relu", norm, separable=True)

    def inputs(self, batch, size):
        return pyramid(batch, size, {2: 4, 3: 6, 4: 6, 5: 3})

    def shapes(self, batch, size):
        return shapes(batch, size, (2, 3, 4, 5), 6)


class AgainstModelGardenTest(tf.test.TestCase):
    def test_parameters_and_outputs_are_those_of_the_paper_s_neck(self):
        inputs = pyramid(2, (128, 128), RESNET_CHANNELS)
        ours = NASFPN()
        ours(inputs)
        self.assertEqual(round(parameters(ours) / 1e6, 3), 21.591)
        theirs = ModelGardenNASFPN(
            {str(level): x.shape for level, x in inputs.items()},
            activation="swish",
            norm_momentum=0.997,
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
        neck = NASFPN(1, 1, 3, 4, ((0, "sum", (0, 1), True), (1, "sum", (1, 2), True)), "linear", _nothing())
        maps = {3: tf.reshape(tf.range(4.0), [1, 2, 2, 1]), 4: tf.fill([1, 1, 1, 1], 10.0)}
        neck(maps)
        _to_identity(neck)
        outputs = neck(maps)
        self.assertAllClose(outputs[3][0, :, :, 0], [[10.0, 11.0], [12.0, 13.0]])
        self.assertAllClose(outputs[4][0, :, :, 0], [[10.0 + 13.0]])

    def test_attention_is_led_by_the_coarser_level_in_either_order(self):
        fine, coarse = np.float32([[0, 1], [2, 3]]), 0.5
        for inputs in ((0, 1), (1, 0)):
            neck = NASFPN(1, 1, 3, 4, ((0, "attention", inputs, True), (1, "sum", (1, 1), True)), "linear", _nothing())
            maps = {3: fine.reshape([1, 2, 2, 1]), 4: np.full([1, 1, 1, 1], coarse, np.float32)}
            neck(maps)
            _to_identity(neck)
            expected = coarse + fine / (1 + np.exp(-coarse))
            self.assertAllClose(neck(maps)[3][0, :, :, 0], expected)

    def test_what_does_not_fit_is_refused_with_its_reason(self):
        with self.assertRaisesRegex(ConfigError, r"min_level is 3, but the pyramid .* levels \[4, 5\]"):
            NASFPN(8, 1)(pyramid(1, (64, 64), {4: 4, 5: 4}))
        wrong = {
            r"node 1 is .*5, 'sum'.*step must lie in 0…4": (1, (5, "sum", (1, 5), False)),
            r"node 0 is .*'mean'.*operation in \('sum', 'attention'\)": (0, (1, "mean", (1, 3), False)),
            r"node 2 is .*inputs in 0…6": (2, (0, "sum", (0, 7), True)),
        }
        for message, (index, node) in wrong.items():
            cell = [*PAPER_CELL[:index], node, *PAPER_CELL[index + 1 :]]
            with self.assertRaisesRegex(ConfigError, message):
                NASFPN(cell=cell)
        with self.assertRaisesRegex(ConfigError, "last 5 nodes must be one for each of the 5 levels"):
            NASFPN(cell=PAPER_CELL[:6])

    def test_the_paper_s_cell_needs_five_levels(self):
        with self.assertRaises(ConfigError):
            NASFPN(max_level=6)


def parameters(layer):
    return sum(weight.shape.num_elements() for weight in layer.trainable_weights)


def _nothing():
    """A norm that does nothing."""
    return keras.layers.BatchNormalization(center=False, scale=False, epsilon=0.0, trainable=False)


def _to_identity(neck):
    for conv in neck.convs:
        kernel = np.zeros(conv.kernel.shape, np.float32)
        kernel[1, 1, 0, 0] = 1.0
        conv.set_weights([kernel, np.zeros(1)])


def _copy_weights(source, target):
    """Copies Model Garden's weights, moved off their initial values, in the order in which it makes its layers."""
    convs, norms = (
        [layer for layer in source.layers if type(layer).__name__ == kind] for kind in ("Conv2D", "BatchNormalization")
    )
    in_order = [sorted(layers, key=_creation) for layers in (convs, norms)]
    order = ("3", "4", "5")
    mine = (
        [target.projections[level] for level in order] + target.convs,
        [target.projection_norms[level] for level in order] + target.norms,
    )
    random = np.random.default_rng(0)
    for theirs, ours in zip(in_order, mine, strict=True):
        for source_layer, target_layer in zip(theirs, ours, strict=True):
            weights = [w + np.abs(random.normal(0, 0.1, w.shape)) for w in source_layer.get_weights()]
            if len(weights) == 2:
                weights[0] = source_layer.get_weights()[0]
            source_layer.set_weights(weights)
            target_layer.set_weights(weights)


def _creation(layer):
    return int(layer.name.rpartition("_")[2]) if layer.name[-1].isdigit() and "_" in layer.name else 0


if __name__ == "__main__":
    tf.test.main()
