import tensorflow as tf

from tf_frozen.freezing.traced_step import TracedStep
from tf_frozen.keras_flavor import keras


class BatchStatisticsTest(tf.test.TestCase):
    """Of norms in a frozen part that are written by hand, and of layers that look like them."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        ones = tf.ones([4])
        cls.frozen = {name: tf.Variable(ones) for name in ("scale", "offset", "early", "late")}
        cls.frozen["kernel"] = tf.Variable(tf.ones([1, 1, 4, 4]))
        cls.trained = tf.Variable(ones)

    def found(self, function, layer=None):
        """The frozen variables that `function` of a map [3, 8, 8, 4] uses on statistics of the batch."""
        weights = {w.name.rpartition("/")[2].split(":")[0]: w for w in layer.weights} if layer is not None else {}

        def step(x):
            early = tf.nn.relu(x * self.frozen["early"])  # the backbone so far
            late = function(early) * self.frozen["late"]  # the backbone from there on
            return tf.reduce_sum(late * self.trained)

        graph = tf.function(step).get_concrete_function(tf.TensorSpec([3, 8, 8, 4]))
        return TracedStep(graph, {**self.frozen, **weights}, [self.trained]).batch_statistics()

    def norm(self, x, mean, variance):
        return (x - mean) * tf.math.rsqrt(variance + 1e-3) * self.frozen["scale"] + self.frozen["offset"]

    def test_norms_by_hand_are_found(self):
        scale, offset, kernel = (self.frozen[name] for name in ("scale", "offset", "kernel"))

        def moments(x):
            return tf.nn.moments(x, [0, 1, 2])

        def over_square_root(x):
            mean, variance = tf.reduce_mean(x, [0, 1, 2]), tf.math.reduce_variance(x, [0, 1, 2])
            return scale * ((x - mean) / tf.sqrt(variance + 1e-3)) + offset

        def of_sums(x):
            count = tf.cast(tf.size(x) / 4, tf.float32)
            mean = tf.reduce_sum(tf.reduce_sum(x, [1, 2]), 0) / count
            return self.norm(x, mean, tf.reduce_sum((x - mean) ** 2, [0, 1, 2]) / count)

        def of_rows(x):
            rows = tf.reshape(x, [-1, 4])
            return self.norm(x, *tf.nn.moments(rows, [0]))

        for function, names in (
            (lambda x: self.norm(x, *moments(x)), ["scale"]),
            (over_square_root, ["scale"]),
            (of_sums, ["scale"]),
            (of_rows, ["scale"]),
            (lambda x: tf.nn.batch_normalization(x, *moments(x), offset, scale, 1e-3), ["scale", "offset"]),
            (lambda x: tf.nn.conv2d(x - moments(x)[0], kernel, 1, "SAME"), ["kernel"]),
            (lambda x: x / tf.reduce_max(x, range(3)), ["late"]),
        ):
            self.assertCountEqual(self.found(function), names)

    def test_the_loop_of_several_steps_in_one_call_hides_nothing(self):
        def looped(x):
            for _ in tf.range(2):
                x = self.norm(x, *tf.nn.moments(x, [0, 1, 2]))
            return x

        self.assertIn("scale", self.found(looped))

    def test_what_stays_within_an_image_is_not_taken_for_them(self):
        kernel, scale, offset = (self.frozen[name] for name in ("kernel", "scale", "offset"))

        def squeeze_excite(x):
            squeezed = tf.reduce_mean(x, [1, 2], keepdims=True)
            return x * tf.sigmoid(tf.nn.conv2d(squeezed, kernel, 1, "SAME"))

        def each_by_itself(x):
            return tf.map_fn(lambda image: self.norm(image, *tf.nn.moments(image, [0, 1])), x)

        def sum_of_maps(x):
            return tf.reduce_sum(tf.stack([x, 2.0 * x, 3.0 * x]), 0) * scale + offset

        for function in (squeeze_excite, each_by_itself, sum_of_maps):
            self.assertEqual(self.found(function), [])

    def test_layers_of_keras_by_what_they_use(self):
        layers = keras.layers
        for kind, training, names in (
            (layers.BatchNormalization(), False, []),
            (layers.BatchNormalization(fused=False), True, ["gamma"]),
            (layers.experimental.SyncBatchNormalization(), True, ["gamma"]),
            (layers.LayerNormalization(), True, []),
            (layers.GroupNormalization(2), True, []),
            (layers.UnitNormalization(), True, []),
        ):
            kind.build([None, 8, 8, 4])
            options = {"training": training} if "Batch" in type(kind).__name__ else {}
            found = self.found(lambda x, kind=kind, options=options: kind(x, **options), kind)
            self.assertEqual([name for name in found if name == "gamma"], names, type(kind).__name__)
            self.assertEqual(bool(found), bool(names), type(kind).__name__)

    def test_a_norm_that_trains_may_use_them(self):
        def trained_norm(x):
            mean, variance = tf.nn.moments(x, [0, 1, 2])
            return (x - mean) * tf.math.rsqrt(variance + 1e-3) * self.trained

        self.assertEqual(self.found(trained_norm), [])


if __name__ == "__main__":
    tf.test.main()
