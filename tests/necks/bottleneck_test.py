import numpy as np
import tensorflow as tf

from tests.layer_suite import LayerSuite
from tests.necks.pyramids import nothing, parameters
from tf_frozen.layers.norm import default_norm
from tf_frozen.necks.bottleneck import Bottleneck


class BottleneckSuiteTest(LayerSuite, tf.test.TestCase):
    float32_outputs = False

    def layer(self):
        return Bottleneck(3, default_norm())

    def inputs(self, batch, size):
        return tf.random.stateless_normal([batch, *size, 5], [1, 2])

    def shapes(self, batch, size):
        return (batch, *size, 12)


class BottleneckTest(tf.test.TestCase):
    def outputs(self, center):
        """Those of a block of one filter for 1 and -1, by the centre of its 3×3 kernel, which is 0 elsewhere."""
        block = Bottleneck(1, nothing(), "relu")
        inputs = tf.reshape([1.0, -1.0], [2, 1, 1, 1])
        block(inputs)
        reduce, conv, expand = block.blocks
        kernel = np.zeros([3, 3, 1, 1])
        kernel[1, 1] = center
        parts = ((reduce, [2.0]), (conv, kernel), (expand, [1, 2, 3, -4]), (block.shortcut, [-1, 0, 0, 25]))
        for part, values in parts:
            part.conv.set_weights([np.reshape(values, part.conv.kernel.shape)])
        return block(inputs)[:, 0, 0]

    def test_by_hand(self):
        # 1 becomes 2, then 6; -1 ends at the first activation, and its shortcut at the last.
        self.assertAllEqual(self.outputs(3.0), [[6 - 1, 12, 18, 25 - 24], [1, 0, 0, 0]])
        # 1 becomes 2, then ends at the second activation; -1 ends at the first as before.
        self.assertAllEqual(self.outputs(-3.0), [[0, 0, 0, 25], [1, 0, 0, 0]])

    def test_parameters_of_a_node_of_the_paper_s_neck(self):
        block = Bottleneck(256, default_norm())
        block(tf.zeros([1, 4, 4, 256]))
        convs = 256 * 256 + 9 * 256 * 256 + 2 * 256 * 1024
        self.assertEqual(parameters(block), convs + 2 * (256 + 256 + 1024 + 1024))


if __name__ == "__main__":
    tf.test.main()
