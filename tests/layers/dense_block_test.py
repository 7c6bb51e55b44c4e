import numpy as np
import tensorflow as tf

from tests.layer_suite import LayerSuite, VariantSuite
from tf_frozen.layers.conv_block import ConvBlock
from tf_frozen.layers.dense_block import DenseBlock
from tf_frozen.layers.norm import default_norm


class DenseBlockCase:
    float32_outputs = False
    sizes = ((4, 4),)

    def inputs(self, batch, size):
        return tf.random.stateless_normal([batch, size[0] * size[1]], [1, 2])

    def shapes(self, batch, size):
        return (batch, 5)


class DenseBlockWithNormTest(DenseBlockCase, LayerSuite, tf.test.TestCase):
    def layer(self):
        return DenseBlock(5, default_norm(), "swish")


class DenseBlockWithBiasTest(DenseBlockCase, VariantSuite, tf.test.TestCase):
    def layer(self):
        return DenseBlock(5, scale=1 / 3)


class DenseBlockTest(tf.test.TestCase):
    def test_it_is_a_1x1_convolution_as_a_matrix_product(self):
        inputs = tf.random.stateless_normal([7, 12], [1, 2])
        block, conv = DenseBlock(5, default_norm(), "swish"), ConvBlock(5, 1, default_norm(), "swish")
        block(inputs), conv(inputs[:, tf.newaxis, tf.newaxis])
        conv.set_weights([np.reshape(w, v.shape) for w, v in zip(block.get_weights(), conv.weights, strict=True)])
        for training in (False, True):
            expected = conv(inputs[:, tf.newaxis, tf.newaxis], training=training)[:, 0, 0]
            self.assertAllClose(block(inputs, training=training), expected, atol=1e-5)

    def test_its_kernel_starts_with_the_variance_asked_for(self):
        block = DenseBlock(500, scale=1 / 3)
        block(tf.zeros([1, 400]))
        self.assertAllClose(tf.math.reduce_variance(block.dense.kernel) * 500, 1 / 3, rtol=0.05)

    def test_the_step_has_no_convolution(self):
        block = DenseBlock(5)
        graph = tf.function(block).get_concrete_function(tf.TensorSpec([None, 12])).graph
        types = {op.type for op in graph.get_operations()}
        self.assertIn("MatMul", types)
        self.assertNotIn("Conv2D", types)


if __name__ == "__main__":
    tf.test.main()
