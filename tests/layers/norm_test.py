import gin
import tensorflow as tf

from tf_frozen.keras_flavor import keras
from tf_frozen.layers import norm


class NormTest(tf.test.TestCase):
    def tearDown(self):
        gin.clear_config()
        super().tearDown()

    def test_a_copy_is_configured_alike_and_has_weights_of_its_own(self):
        pattern = keras.layers.GroupNormalization(groups=2, epsilon=0.25)
        copies = [norm.copy_of(pattern, name) for name in ("a", "b")]
        for copy in copies:
            copy(tf.ones([1, 2, 2, 4]))
            self.assertEqual((copy.groups, copy.epsilon), (2, 0.25))
        self.assertEqual([copy.name for copy in copies], ["a", "b"])
        self.assertEqual(len({id(weight) for copy in copies for weight in copy.weights}), 4)

    def test_the_default_s_statistics_follow_within_a_short_fit(self):
        layer = norm.default_norm()
        inputs = 50.0 + 7.0 * tf.random.stateless_normal([64, 4, 4, 2], [1, 2])
        for _ in range(50):
            expected = layer(inputs, training=True)
        self.assertAllClose(layer(inputs, training=False), expected, atol=0.05)

    def test_gin_gives_each_part_a_norm_with_arguments_of_its_own(self):
        gin.parse_config("neck/BatchNorm.momentum = 0.5\nGroupNorm.groups = 3\nSyncBatchNorm.epsilon = 0.1")
        with gin.config_scope("neck"):
            self.assertEqual(norm.BatchNorm().momentum, 0.5)
        self.assertEqual(norm.BatchNorm().momentum, 0.99)
        self.assertEqual(norm.GroupNorm().groups, 3)
        self.assertEqual(norm.SyncBatchNorm().epsilon, 0.1)


if __name__ == "__main__":
    tf.test.main()
