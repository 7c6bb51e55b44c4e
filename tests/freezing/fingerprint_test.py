import numpy as np
import tensorflow as tf

from tf_frozen.freezing.fingerprint import digest, fingerprints

# `printf 'float32[2]\0\0\200\77\0\0\0\300' | sha256sum`: dtype, shape, 1.0 and -2.0 in little-endian bytes.
ONE_MINUS_TWO = "92c2b202fc2dff4404e2d6c13c042c7db977dc5d25288b48302d8ae0d136e26b"


class FingerprintTest(tf.test.TestCase):
    def of(self, value, dtype=None):
        return fingerprints({"v": tf.Variable(value, dtype=dtype)})["v"]

    def test_is_the_sha256_of_dtype_shape_and_bytes(self):
        self.assertEqual(self.of([1.0, -2.0]), ONE_MINUS_TWO)

    def test_the_last_bit_and_the_sign_of_zero_count(self):
        value = np.ones([3, 3], np.float32)
        flipped = value.copy()
        flipped.view(np.uint32)[2, 2] ^= 1
        self.assertNotEqual(self.of(value), self.of(flipped))
        self.assertNotEqual(self.of(np.float32([0.0])), self.of(np.float32([-0.0])))

    def test_shape_and_dtype_count_where_the_bytes_are_equal(self):
        prints = [self.of(tf.zeros([4])), self.of(tf.zeros([2, 2])), self.of(tf.zeros([4], tf.int32))]
        self.assertLen(set(prints), 3)
        self.assertNotEqual(self.of(tf.zeros([0])), self.of(tf.zeros([0, 2])))

    def test_bfloat16_nan_and_scalars_have_one(self):
        self.assertEqual(self.of(np.nan, tf.bfloat16), self.of(np.nan, tf.bfloat16))
        self.assertNotEqual(self.of(1.0, tf.bfloat16), self.of(1.0, tf.float16))

    def test_digest_ignores_order_and_nothing_else(self):
        self.assertEqual(digest({"a": "1", "b": "2"}), digest({"b": "2", "a": "1"}))
        self.assertNotEqual(digest({"a": "1", "b": "2"}), digest({"a": "2", "b": "1"}))
        self.assertNotEqual(digest({"a": "1"}), digest({"a": "1", "b": "2"}))


if __name__ == "__main__":
    tf.test.main()
