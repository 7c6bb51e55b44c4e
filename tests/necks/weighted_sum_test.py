import numpy as np
import tensorflow as tf

from tests.layer_suite import LayerSuite, VariantSuite
from tf_frozen.keras_flavor import keras
from tf_frozen.necks.weighted_sum import WeightedSum


class WeightedSumCase:
    float32_outputs = False
    fusion = "fast"

    def layer(self):
        return WeightedSum(self.fusion)

    def inputs(self, batch, size):
        return [tf.random.stateless_normal([batch, *size, 2], [1, i]) for i in range(3)]

    def shapes(self, batch, size):
        return (batch, *size, 2)


class FastWeightedSumTest(WeightedSumCase, LayerSuite, tf.test.TestCase):
    pass


class SoftmaxWeightedSumTest(WeightedSumCase, VariantSuite, tf.test.TestCase):
    fusion = "softmax"


class WeightedSumTest(tf.test.TestCase):
    inputs = [tf.constant([[1.0]]), tf.constant([[10.0]]), tf.constant([[100.0]])]

    def summed(self, fusion, weights):
        layer = WeightedSum(fusion)
        layer(self.inputs)
        layer.set_weights(weights)
        return layer(self.inputs)

    def test_fast_by_hand(self):
        self.assertAllClose(self.summed("fast", [np.float32([1, 3, 0])]), [[31 / 4.0001]], rtol=1e-6)

    def test_a_negative_weight_silences_its_input(self):
        self.assertAllClose(self.summed("fast", [np.float32([1, -3, 1])]), [[101 / 2.0001]], rtol=1e-6)

    def test_softmax_by_hand(self):
        weights = np.log(np.float32([1, 3, 4]))
        self.assertAllClose(self.summed("softmax", [weights]), [[1 / 8 + 30 / 8 + 400 / 8]], rtol=1e-6)

    def test_a_plain_sum_learns_nothing(self):
        self.assertAllEqual(self.summed("sum", []), [[111.0]])

    def test_inputs_share_alike_at_first(self):
        for fusion, expected in (("fast", 111 / 3.0001), ("softmax", 37.0)):
            self.assertAllClose(WeightedSum(fusion)(self.inputs), [[expected]], rtol=1e-6)

    def test_shares_are_computed_in_float32(self):
        """float16 knows no 1e-8."""
        layer = WeightedSum("fast", dtype=keras.mixed_precision.Policy("mixed_float16"))
        inputs = [tf.constant([[10000.0]], tf.float16)] * 2
        layer(inputs)
        layer.set_weights([np.float32([1e-8, 1e-8])])
        self.assertAllClose(layer(inputs), [[1e4 * 2e-8 / (2e-8 + 1e-4)]], rtol=2e-3)


if __name__ == "__main__":
    tf.test.main()
