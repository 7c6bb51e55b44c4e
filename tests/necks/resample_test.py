import tensorflow as tf

from tf_frozen.necks.resample import size_of, upsample

SIZES = (((4, 6), (8, 12)), ((4, 3), (7, 5)), ((13, 5), (25, 10)), ((1, 2), (2, 3)), ((3, 2), (20, 16)))


def noise(size, dtype=tf.float32):
    return tf.cast(tf.random.stateless_normal([2, *size, 3], [1, 2]), dtype)


class UpsampleTest(tf.test.TestCase):
    def gradients(self, function, x, upstream):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = function(x)
        return y, tape.gradient(y, x, upstream)

    def test_values_and_gradients_are_those_of_tensorflow_s_kernel_to_the_bit(self):
        for dtype in (tf.float32, tf.float16, tf.bfloat16):
            for coarse, fine in SIZES:
                x, upstream = noise(coarse, dtype), noise(fine, dtype)
                expected = self.gradients(lambda x, fine=fine: tf.image.resize(x, fine, "nearest"), x, upstream)
                found = self.gradients(lambda x, fine=fine: upsample(x, fine), x, upstream)
                for ours, theirs in zip(found, expected, strict=True):
                    self.assertEqual(ours.dtype, dtype)
                    self.assertAllEqual(ours, theirs)

    def test_every_size_of_a_pyramid_has_the_cells_of_tensorflow_s_kernel(self):
        for fine in range(1, 130):
            coarse = -(-fine // 2)
            x = tf.ones([1, coarse, 1, 1])
            resized = self.gradients(lambda x, fine=fine: tf.image.resize(x, [fine, 1], "nearest"), x, None)
            self.assertAllEqual(self.gradients(lambda x, fine=fine: upsample(x, [fine, 1]), x, None)[1], resized[1])

    def test_xla_compiles_values_and_gradients(self):
        for coarse, fine in SIZES:
            x, upstream = noise(coarse), noise(fine)
            both = tf.function(
                lambda x, upstream, fine=fine: self.gradients(lambda x: upsample(x, fine), x, upstream),
                jit_compile=True,
            )
            for found, expected in zip(both(x, upstream), both.python_function(x, upstream), strict=True):
                self.assertAllClose(found, expected)

    def test_sizes_unknown_while_tracing(self):
        @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3])] * 2)
        def traced(x, finer):
            return upsample(x, size_of(finer))

        x, finer = noise((4, 3)), noise((7, 5))
        self.assertAllEqual(traced(x, finer), upsample(x, size_of(finer)))


if __name__ == "__main__":
    tf.test.main()
