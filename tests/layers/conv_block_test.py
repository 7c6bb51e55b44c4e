import numpy as np
import tensorflow as tf

from tests.layer_suite import LayerSuite, VariantSuite
from tf_frozen.keras_flavor import keras
from tf_frozen.layers.conv_block import ConvBlock
from tf_frozen.layers.norm import default_norm


class ConvBlockCase:
    float32_outputs = False

    def inputs(self, batch, size):
        return tf.random.stateless_normal([batch, *size, 3], [1, 2])

    def shapes(self, batch, size):
        return (batch, *size, 4)


class ConvBlockWithNormTest(ConvBlockCase, LayerSuite, tf.test.TestCase):
    def layer(self):
        return ConvBlock(4, 3, default_norm(), "swish")


class SeparableConvBlockTest(ConvBlockCase, VariantSuite, tf.test.TestCase):
    def layer(self):
        return ConvBlock(4, 3, separable=True)


class ConvBlockTest(tf.test.TestCase):
    def test_without_a_norm_it_is_convolution_bias_and_activation(self):
        block = ConvBlock(1, 1, activation="relu")
        block(tf.zeros([1, 1, 1, 2]))
        block.set_weights([np.reshape([2.0, -3.0], [1, 1, 2, 1]), np.array([0.5])])
        inputs = tf.reshape([1.0, 0.5, 1.0, 1.0], [1, 1, 2, 2])
        self.assertAllClose(block(inputs), [[[[1.0], [0.0]]]])

    def test_a_norm_takes_the_place_of_the_bias(self):
        block = ConvBlock(5, 3, default_norm())
        block(tf.zeros([1, 4, 4, 2]))
        self.assertEqual([v.shape.num_elements() for v in block.trainable_weights], [5, 5, 3 * 3 * 2 * 5])

    def test_training_normalises_by_the_batch_and_inference_by_what_was_seen(self):
        block = ConvBlock(2, 1, keras.layers.BatchNormalization(momentum=0.0), activation="linear")
        inputs = 7.0 + 3.0 * tf.random.stateless_normal([8, 16, 16, 1], [1, 2])
        trained = block(inputs, training=True)
        self.assertAllClose(tf.reduce_mean(trained, [0, 1, 2]), [0.0, 0.0], atol=1e-4)
        self.assertAllClose(block(inputs, training=False), trained, atol=1e-2)

    def test_each_block_has_a_norm_of_its_own(self):
        norm = default_norm()
        first, second = ConvBlock(2, 1, norm), ConvBlock(2, 1, norm)
        first(tf.ones([1, 2, 2, 1]), training=True)
        second(tf.ones([1, 2, 2, 1]), training=True)
        self.assertEqual(len({id(w) for block in (first, second) for w in block.weights}), 10)
        self.assertFalse(norm.built)


if __name__ == "__main__":
    tf.test.main()
