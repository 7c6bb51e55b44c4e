import numpy as np
import tensorflow as tf

from tests.layer_suite import LayerSuite
from tests.necks.pyramids import RESNET_CHANNELS, nothing, parameters, pyramid, shapes
from tf_frozen.errors import ConfigError
from tf_frozen.necks.fpn import FPN
from tf_frozen.necks.plain_convs import PlainConvs


class PlainConvsSuiteTest(LayerSuite, tf.test.TestCase):
    """Two convolutions a level and a level above the backbone's."""

    float32_outputs = False

    def layer(self):
        return PlainConvs(4, 2, 3, 6)

    def inputs(self, batch, size):
        return pyramid(batch, size, {2: 3, 3: 4, 4: 6, 5: 3})

    def shapes(self, batch, size):
        return shapes(batch, size, (3, 4, 5, 6), 4)


class PlainConvsTest(tf.test.TestCase):
    def test_no_level_hears_of_another(self):
        neck = PlainConvs(4, 2, 2, 7)
        inputs = pyramid(1, (128, 128), {2: 4, 3: 4, 4: 4, 5: 4})
        before = neck(inputs)
        for changed, reached in ((2, [2]), (3, [3]), (4, [4]), (5, [5, 6, 7])):
            after = neck({**inputs, changed: inputs[changed] + 1.0})
            self.assertEqual([k for k in before if not np.array_equal(before[k], after[k])], reached)

    def test_it_has_the_levels_of_an_fpn_and_no_weights_in_those_above(self):
        maps = pyramid(1, (64, 64), RESNET_CHANNELS)
        neck, fpn = PlainConvs(16), FPN(16)
        self.assertEqual({k: x.shape for k, x in neck(maps).items()}, {k: x.shape for k, x in fpn(maps).items()})
        self.assertEqual(parameters(neck), 9 * 16 * sum(RESNET_CHANNELS.values()) + 4 * 2 * 16)
        neck = PlainConvs(16, 2)
        neck(maps)
        self.assertEqual(parameters(neck), 9 * 16 * (sum(RESNET_CHANNELS.values()) + 4 * 16) + 8 * 2 * 16)

    def test_by_hand(self):
        neck = PlainConvs(1, 1, 3, 4, "relu", nothing())
        maps = {3: tf.reshape(tf.range(-8.0, 8.0), [1, 4, 4, 1])}
        neck(maps)
        kernel = neck.blocks["level_3_0"].conv
        kernel.set_weights([np.float32([[0, 0, 0], [0, 2, 0], [0, 0, 0]]).reshape([3, 3, 1, 1])])
        outputs = neck(maps)
        self.assertAllEqual(outputs[3][0, :, :, 0], [[0] * 4, [0] * 4, [0, 2, 4, 6], [8, 10, 12, 14]])
        self.assertAllEqual(outputs[4][0, :, :, 0], [[0, 0], [10, 14]])

    def test_no_convolution_is_refused(self):
        with self.assertRaisesRegex(ConfigError, "PlainConvs.convs is 0"):
            PlainConvs(convs=0)


if __name__ == "__main__":
    tf.test.main()
