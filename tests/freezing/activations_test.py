import tensorflow as tf

from tests.freezing import tiny
from tf_frozen.freezing.activations import activation_bytes
from tf_frozen.freezing.savings import savings
from tf_frozen.keras_flavor import keras
from tf_frozen.training.precision import precision_of_layers

IMAGE = [1, 8, 6, 3]
MAP = 4 * 8 * 6  # bytes of one channel


def kept(network, loss=tf.reduce_sum, **choices):
    """Bytes for each choice of layers, by name; all of the network's weights if none is given."""
    network.build(IMAGE)
    function = tf.function(lambda x: loss(network(x, training=True)))
    traced = function.get_concrete_function(tf.TensorSpec(IMAGE))
    choices = choices or {"all": [network]}
    counted = activation_bytes(
        traced, *[[w for x in layers for w in x.trainable_weights] for layers in choices.values()]
    )
    return dict(zip(choices, counted, strict=True))


def conv(filters, activation=None):
    return keras.layers.Conv2D(filters, 3, padding="same", use_bias=False, activation=activation)


class ActivationBytesTest(tf.test.TestCase):
    """Worked out by hand: what the derivative of each op reads."""

    def test_a_chain_of_convolutions_keeps_the_input_of_each(self):
        first, second = conv(4), conv(5)
        both = kept(keras.Sequential([first, second]), all=[first, second], second=[second], first=[first], none=[])
        image, middle = 4 * 8 * 6 * 3, 4 * 8 * 6 * 4
        self.assertEqual(both, {"all": image + middle, "second": middle, "first": image, "none": 0})

    def test_a_tensor_that_two_ops_read_counts_once(self):
        # ReLU's derivative and the next convolution's kernel read the same output.
        layers = [conv(4, "relu"), conv(5)]
        self.assertEqual(kept(keras.Sequential(layers))["all"], 4 * 8 * 6 * (3 + 4))
        # Its derivative and a dense layer's kernel read it under two shapes.
        layers = [conv(4, "relu"), keras.layers.Flatten(), keras.layers.Dense(2)]
        self.assertEqual(kept(keras.Sequential(layers))["all"], 4 * 8 * 6 * (3 + 4))

    def test_a_batch_norm_keeps_its_input_and_its_statistics(self):
        network = keras.Sequential([conv(4), keras.layers.BatchNormalization()])
        maps, statistics = 4 * 8 * 6 * 4, 4 * (4 + 4)  # mean and variance of each channel
        self.assertEqual(kept(network)["all"], 4 * 8 * 6 * 3 + maps + statistics)

    def test_weights_and_constants_do_not_count(self):
        self.assertEqual(
            kept(keras.Sequential([conv(4)]), lambda y: tf.reduce_sum(y * tf.ones_like(y)))["all"], 4 * 144
        )

    def test_half_precision_halves_it(self):
        with precision_of_layers("mixed_bfloat16"):
            half = kept(keras.Sequential([conv(4, "relu"), conv(5)]))["all"]
        self.assertEqual(half, 2 * 8 * 6 * (3 + 4))

    def test_what_an_inner_function_hands_to_its_gradient_counts(self):
        kernel = tf.Variable(tf.ones([3, 3, 3, 4]))

        @tf.function
        def inner(x):
            return tf.nn.relu(tf.nn.conv2d(x, kernel, 1, "SAME"))

        traced = tf.function(lambda x: tf.reduce_sum(inner(x))).get_concrete_function(tf.TensorSpec(IMAGE))
        (counted,) = activation_bytes(traced, [kernel])
        # Handed out of the function: the output, as what it gives and as what its derivative reads; the image goes in.
        self.assertBetween(counted, MAP * (3 + 4), MAP * (3 + 4 + 4))

    def test_nothing_before_the_taps_of_a_frozen_backbone_is_kept(self):
        model = tiny.detector()

        def loss(feature_maps):
            return tf.add_n([tf.reduce_sum(x**2) for x in model.neck(feature_maps, training=True).values()])

        feature_maps = {
            level: tf.TensorSpec([1, 64 >> level, 64 >> level, model.backbone.channels[level]]) for level in (2, 3)
        }
        neck = tf.function(loss).get_concrete_function(feature_maps)
        whole = tf.function(lambda images: loss(model.backbone(images, training=True)))
        whole = whole.get_concrete_function(tf.TensorSpec([1, 64, 64, 3]))
        (alone,) = activation_bytes(neck, model.neck.trainable_variables)
        behind, all_trained = activation_bytes(whole, model.neck.trainable_variables, model.weights)
        # The neck reads the feature_maps, which count where they are computed as where they are handed in.
        self.assertEqual(behind, alone)
        self.assertGreater(all_trained, 3 * behind)

    def test_fine_tuning_keeps_what_is_said_beforehand(self):
        frozen, tuned = savings(tiny.detector()), savings(tiny.detector("fine_tune"))
        self.assertEqual(tuned["activation_bytes"], tuned["activation_bytes_unfrozen"])
        # Of the backbone's norms, run by their moving statistics or by the batch's, the latter keep these too.
        self.assertAllClose(frozen["activation_bytes_unfrozen"], tuned["activation_bytes"], rtol=0.01)
        self.assertLess(frozen["activation_bytes"], 0.5 * tuned["activation_bytes"])


if __name__ == "__main__":
    tf.test.main()
