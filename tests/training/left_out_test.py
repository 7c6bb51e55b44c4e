import glob
import os
import tempfile

import gin
import numpy as np
import pytest
import tensorflow as tf

from tests.training import tiny
from tf_frozen.config.load import load_config
from tf_frozen.errors import RunError
from tf_frozen.freezing.trained_weights import checkpoint_bytes
from tf_frozen.keras_flavor import keras
from tf_frozen.training.checkpoint import Checkpoints
from tf_frozen.training.left_out import read_left_out
from tf_frozen.training.run import Run


class Body(keras.Model):
    """A frozen body, whose weights are all `value` and come from `source`."""

    def __init__(self, value, source):
        super().__init__()
        self.conv = keras.layers.Dense(500)
        self(tf.zeros([1, 8]))
        self.conv.kernel.assign(tf.fill([8, 500], value))
        self.weights_source, self.value = source, value
        self.trainable = False

    def call(self, x):
        return self.conv(x)

    def get_config(self):
        return {"value": self.value}


class Detector(tiny.Tiny):
    def __init__(self, value=1.0, source="a file"):
        super().__init__()
        self.backbone = Body(value, source)


class LeftOutTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = self.enter_context(tempfile.TemporaryDirectory())

    def saved(self, model, holds="trained"):
        return Checkpoints(self.folder, model, tiny.adam(), holds=holds).save()

    def names(self, path):
        return {name for name, _ in tf.train.list_variables(path) if name.startswith("detector/backbone")}

    def test_leaves_out_the_body_and_restores_the_rest(self):
        model = Detector()
        model.out.kernel.assign_add(tf.ones_like(model.out.kernel))
        path = self.saved(model)
        self.assertEmpty(self.names(path))
        record = read_left_out(path)
        self.assertEqual((record["source"], record["backbone"]), ("a file", "Body(value=1.0)"))
        self.assertEqual(set(record["fingerprints"]), {"backbone/conv/kernel", "backbone/conv/bias"})
        for holds in ("trained", "everything"):
            other = Detector()
            Checkpoints(self.folder, other, tiny.adam(), holds=holds).restore_latest()
            np.testing.assert_array_equal(other.out.kernel, model.out.kernel)

    def test_another_body_is_refused_and_nothing_is_changed(self):
        self.saved(Detector())
        for other in (Detector(2.0, "another file"), Detector(2.0, None)):
            before = [weight.numpy() for weight in other.weights]
            with self.assertRaises(RunError) as caught:
                Checkpoints(self.folder, other, tiny.adam()).restore_latest()
            for expected in ("weights: a file", "1 variables of other values", "backbone/conv/kernel"):
                self.assertIn(expected, str(caught.exception))
            self.assertIn(f"weights: {other.backbone.weights_source or 'random'}", str(caught.exception))
            for weight, value in zip(other.weights, before, strict=True):
                np.testing.assert_array_equal(weight, value)

    def test_keeps_what_is_in_no_source(self):
        random, thawed, changed = Detector(source=None), Detector(), Detector()
        thawed.backbone.trainable = True
        for model, holds in ((random, "trained"), (thawed, "trained"), (Detector(), "everything")):
            self.assertLen(self.names(self.saved(model, holds)), 2)
        checkpoints = Checkpoints(self.folder, changed, tiny.adam())
        changed.backbone.conv.kernel.assign_add(tf.ones([8, 500]))
        changed_kernel = {"detector/backbone/conv/kernel/.ATTRIBUTES/VARIABLE_VALUE"}
        self.assertEqual(self.names(checkpoints.save()), changed_kernel)
        other = Detector()
        Checkpoints(self.folder, other, tiny.adam()).restore_latest()
        np.testing.assert_array_equal(other.backbone.conv.kernel, changed.backbone.conv.kernel)

    def test_another_choice_of_what_trains_is_refused_in_words(self):
        frozen, thawed = Detector(), Detector()
        thawed.backbone.trainable = True
        for saved, other, counts in ((frozen, thawed, (18, 24)), (thawed, frozen, (24, 18))):
            folder = self.enter_context(tempfile.TemporaryDirectory())
            Checkpoints(folder, saved, tiny.adam()).save()
            with self.assertRaises(RunError) as caught:
                Checkpoints(folder, other, tiny.adam()).restore_latest()
            said = str(caught.exception)
            self.assertIn("written while other variables trained", said)
            self.assertIn(f"it has {counts[0]} of the optimizer's slots and averages", said)
            self.assertIn(f"what trains here needs {counts[1]}", said)
            for advice in ("BACKBONE_MODE", "Policy.rules", "config.gin", "Policy.until"):
                self.assertIn(advice, said)
            self.assertNotIn("_variables", said)

    @pytest.mark.slow
    def test_the_quickstart_writes_little_more_than_what_trains(self):
        self.addCleanup(gin.clear_config)
        load_config(["quickstart.gin"], ["TRAIN_STEPS = 1"])
        detector, _, checkpoints = Run(self.folder)._builder.built
        optimizer = detector.optimizer
        path = checkpoints.save()
        on_disk = sum(os.path.getsize(file) for file in glob.glob(f"{path}.*"))
        slots = sum(v.shape.num_elements() * v.dtype.size for v in optimizer.variables)
        trained = slots + sum(v.shape.num_elements() * v.dtype.size for v in detector.trainable_variables)
        self.assertBetween(on_disk / trained, 1.0, 1.05)
        counted = checkpoint_bytes(detector, slots)
        self.assertAllClose(on_disk / counted["trained"], 1.0, atol=0.01)
        self.assertGreater(counted["everything"], 1.2 * counted["trained"])


if __name__ == "__main__":
    tf.test.main()
