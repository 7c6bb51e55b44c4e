"""What every layer of a detector must do, whatever it computes: the shared behavioural tests."""

import os
import random

import numpy as np
import tensorflow as tf

from tf_frozen.keras_flavor import keras
from tf_frozen.training.precision import precision_of_layers

POLICIES = {"mixed_float16": (tf.float16, 0.05), "mixed_bfloat16": (tf.bfloat16, 0.3)}


class VariantSuite:
    """Mixin of a tf.test.TestCase: a subclass says how to build the layer, its inputs, and their outputs' shapes.

    For a layer with other arguments than the one that `LayerSuite` tests whole. A layer is called with one structure
    of tensors. `sizes` are the (height, width) of images to try; the first is used where one will do.
    """

    sizes = ((64, 64), (96, 64), (73, 41))

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls._made = {}
        cls.addClassCleanup(cls._made.clear)

    def setUp(self):
        super().setUp()
        keras.utils.set_random_seed(0)

    def layer(self):
        """A new layer, with its own weights."""
        raise NotImplementedError

    def inputs(self, batch, size):
        """What the layer is called with, float32, the same at every call."""
        raise NotImplementedError

    def shapes(self, batch, size):
        """The shapes of the layer's outputs, in their structure."""
        raise NotImplementedError

    def trainable_layer(self):
        """The layer as it trains, where that needs other arguments."""
        return self.built()

    def differentiated(self, layer, inputs):
        """The outputs, or losses, that train the layer."""
        return layer(inputs, training=False)

    def test_output_shapes(self):
        layer = self.built()
        for batch, size in [(1, self.sizes[0]), *((2, size) for size in self.sizes)]:
            outputs, shapes = layer(self.inputs(batch, size)), self.shapes(batch, size)
            found = tf.nest.map_structure(lambda output: tuple(output.shape), outputs)
            self.assertEqual(found, shapes, (batch, size))

    def test_its_configuration_builds_the_same_layer(self):
        layer = self.built()
        again = keras.layers.deserialize(keras.layers.serialize(layer))
        again(self.inputs(2, self.sizes[0]))
        self.assertEqual(again.get_config(), layer.get_config())
        self.assertEqual([w.shape for w in again.weights], [w.shape for w in layer.weights])
        again.set_weights(layer.get_weights())
        self.assertOutputs(again)

    def test_a_gradient_reaches_every_trainable_weight(self):
        layer = self.trained()
        inputs = self.inputs(2, self.sizes[0])
        with tf.GradientTape() as tape:
            outputs = tf.nest.flatten(self.differentiated(layer, inputs))
            floats = [output for output in outputs if output.dtype.is_floating]
            loss = tf.add_n([tf.reduce_sum(output * _noise(output)) for output in floats])
        gradients = tape.gradient(loss, layer.trainable_weights)
        self.assertNotEmpty(gradients)
        for weight, gradient in zip(layer.trainable_weights, gradients, strict=True):
            self.assertIsNotNone(gradient, weight.name)
            self.assertAllInSet(np.isfinite(gradient), [True])
            self.assertGreater(np.abs(gradient).max(), 0.0, weight.name)

    def built(self):
        """The layer, its weights off their initial values: made once a class, so a test leaves it as it was."""
        if "layer" not in self._made:
            layer = self.layer()
            layer(self.inputs(2, self.sizes[0]))
            _shake(layer)
            self._made |= {"layer": layer, "outputs": self.outputs(layer)}
        return self._made["layer"]

    def trained(self):
        """`trainable_layer`, made once a class."""
        if "trained" not in self._made:
            self._made["trained"] = layer = self.trainable_layer()
            layer(self.inputs(2, self.sizes[0]))
        return self._made["trained"]

    def expected(self):
        """The outputs of `built()` for two images of the first size."""
        self.built()
        return self._made["outputs"]

    def outputs(self, layer):
        return tf.nest.flatten(layer(self.inputs(2, self.sizes[0]), training=False))

    def assertOutputs(self, layer):
        """To the bit those of `built()`."""
        for found, expected in zip(self.outputs(layer), self.expected(), strict=True):
            self.assertAllEqual(found, expected)


class LayerSuite(VariantSuite):
    """All that a layer must do. `float32_outputs` says whether outputs stay float32 under a mixed precision policy."""

    float32_outputs = True
    jit_compiles = True

    def test_a_functional_model_saves_and_loads_it(self):
        inputs = tf.nest.map_structure(lambda x: keras.Input(x.shape[1:]), self.inputs(1, self.sizes[0]))
        models = [keras.Model(inputs, layer(inputs)) for layer in (self.built(), self.layer())]
        self.check_saves_and_loads(*models, "model.weights.h5")

    def test_a_subclassed_model_saves_and_loads_it(self):
        self.check_saves_and_loads(_Around(self.built()), _Around(self.layer()), "checkpoint")

    def test_half_precision_computes_much_the_same(self):
        layer = self.built()
        for policy, (dtype, tolerance) in POLICIES.items():
            with precision_of_layers(policy):
                half = self.layer()
                again = keras.layers.deserialize(keras.layers.serialize(half))
                half(self.inputs(2, self.sizes[0]))
                half.set_weights(layer.get_weights())
                outputs = self.outputs(half)
            self.assertEqual((again.compute_dtype, again.variable_dtype), (half.compute_dtype, "float32"))
            self.assertEqual({weight.dtype for weight in half.weights}, {tf.float32})
            floats = [output for output in outputs if output.dtype.is_floating]
            self.assertEqual({output.dtype for output in floats}, {tf.float32 if self.float32_outputs else dtype})
            self.check_half_precision(outputs, self.expected(), tolerance)

    def test_a_graph_of_any_batch_size_computes_the_same(self):
        layer = self.built()
        inputs = self.inputs(2, self.sizes[0])
        signature = tf.nest.map_structure(lambda x: tf.TensorSpec([None, *x.shape[1:]], x.dtype), inputs)
        graph = tf.function(lambda x: layer(x, training=False), input_signature=[signature])
        self.assertClose(tf.nest.flatten(graph(inputs)), self.expected(), 1e-4)

    def test_xla_computes_the_same(self):
        if not self.jit_compiles:
            self.skipTest("XLA does not compile it.")
        layer = self.built()
        compiled = tf.function(lambda x: layer(x, training=False), jit_compile=True)
        outputs = compiled(self.inputs(2, self.sizes[0]))
        self.assertClose(tf.nest.flatten(outputs), self.expected(), 1e-3)

    def test_inference_changes_no_weight(self):
        layer = self.built()
        before = layer.get_weights()
        layer(self.inputs(2, self.sizes[0]), training=False)
        for old, new in zip(before, layer.get_weights(), strict=True):
            self.assertAllEqual(old, new)

    def test_uses_no_global_randomness(self):
        layer = self.trained()
        inputs = self.inputs(2, self.sizes[0])
        before = layer.get_weights()
        drawn = []
        for uses_the_layer in (False, True):
            keras.utils.set_random_seed(7)
            if uses_the_layer:
                layer(inputs, training=True)
                self.differentiated(layer, inputs)
            drawn.append([random.random(), np.random.rand(), float(tf.random.uniform([]))])
        layer.set_weights(before)
        self.assertEqual(*drawn)

    def check_half_precision(self, outputs, expected, tolerance):
        """Outputs that can't jump are near what float32 gives."""
        self.assertClose(outputs, expected, tolerance)

    def check_saves_and_loads(self, model, other, name):
        """Loads the weights of `model`, which holds `built()`, into `other`, where each of them is 0."""
        for each in (model, other):
            each(self.inputs(2, self.sizes[0]))
        other.set_weights([np.zeros_like(weight) for weight in other.get_weights()])
        path = os.path.join(self.get_temp_dir(), name)
        model.save_weights(path)
        loading = other.load_weights(path)
        if loading is not None:
            loading.assert_consumed()
        self.assertOutputs(other)

    def assertClose(self, outputs, expected, tolerance):
        """Equal up to `tolerance` times the largest expected magnitude."""
        for found, value in zip(outputs, expected, strict=True):
            scale = max(1e-6, np.abs(value).max())
            self.assertAllClose(tf.cast(found, tf.float32), value, rtol=0, atol=tolerance * scale)


class _Around(keras.Model):
    def __init__(self, layer):
        super().__init__()
        self.inner = layer

    def call(self, inputs, training=None):
        return self.inner(inputs, training=training)


def _shake(layer):
    """Moves what trains off its initial value, so that no weight is 0, 1, or the same in another layer."""
    for weight in layer.trainable_weights:
        weight.assign_add(np.random.normal(0.0, 0.05, weight.shape).astype(np.float32))


def _noise(output):
    return tf.cast(tf.random.stateless_normal(tf.shape(output), [3, 5]), output.dtype)
