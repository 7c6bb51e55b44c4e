import math

import numpy as np
import tensorflow as tf

from tests.layer_suite import LayerSuite, VariantSuite
from tf_frozen.keras_flavor import keras
from tf_frozen.layers.conv_tower import ConvTower
from tf_frozen.layers.norm import default_norm


class ConvTowerCase:
    float32_outputs = False

    def inputs(self, batch, size):
        return {
            level: tf.random.stateless_normal([batch, *(-(-side // 2**level) for side in size), 3], [level, 2])
            for level in (3, 4)
        }

    def shapes(self, batch, size):
        return {level: (batch, *(math.ceil(side / 2**level) for side in size), 5) for level in (3, 4)}


class ConvTowerSuiteTest(ConvTowerCase, LayerSuite, tf.test.TestCase):
    def layer(self):
        return ConvTower(5, 2, norm=default_norm())


class SeparableConvTowerTest(ConvTowerCase, VariantSuite, tf.test.TestCase):
    def layer(self):
        return ConvTower(5, 1, separable=True)


class ConvTowerTest(tf.test.TestCase):
    def test_levels_share_convolutions_and_not_norms(self):
        tower = ConvTower(2, 1, norm=keras.layers.BatchNormalization(momentum=0.0), activation="linear")
        noise = tf.random.stateless_normal([4, 8, 8, 3], [1, 2])
        pyramid = {3: noise, 4: 5.0 + 20.0 * noise}
        trained = tower(pyramid, training=True)
        # Two levels that differ in scale and offset alone are the same once each is normalized by itself.
        inside = np.s_[:, 1:-1, 1:-1]
        self.assertNotAllClose(trained[3][inside], tower.hidden[0](noise)[inside], atol=0.1)
        for level in pyramid:
            self.assertAllClose(tower(pyramid, training=False)[level], trained[level], rtol=0, atol=0.02)
            self.assertAllClose(tf.math.reduce_std(trained[level], [0, 1, 2]), [1.0, 1.0], atol=0.02)
        self.assertLen(tower.trainable_weights, 2 + 2 * 2)


if __name__ == "__main__":
    tf.test.main()
