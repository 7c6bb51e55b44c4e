"""Checkpoints of detectors whose backbone has residual adapters: they are in no source of weights."""

import tempfile

import numpy as np
import tensorflow as tf

from tests.freezing import tiny
from tests.training.tiny import state
from tf_frozen.freezing.policy import Policy
from tf_frozen.freezing.variable_paths import frozen_variables, variable_paths
from tf_frozen.keras_flavor import keras
from tf_frozen.training.checkpoint import Checkpoints

ADAPTERS = ("backbone/.*/adapter/kernel", "frozen")


class AdaptersTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = self.enter_context(tempfile.TemporaryDirectory())

    def made(self, mode, *rules):
        """A detector with an optimizer for what trains, and its checkpoints."""
        detector = tiny.detector(mode)
        Policy(rules).apply(detector)
        detector.compile(keras.optimizers.SGD(0.1, momentum=0.9, use_ema=True, ema_momentum=0.5))
        return detector, Checkpoints(self.folder, detector, detector.optimizer)

    def saved_of_backbone(self):
        return {name for name in state(self.folder)[0] if name.startswith("detector/backbone")}

    def assert_same(self, detector, other):
        found, expected = (variable_paths(each) | _numbered(each.optimizer) for each in (detector, other))
        self.assertEqual(found.keys(), expected.keys())
        for path, variable in expected.items():
            np.testing.assert_array_equal(found[path], variable, err_msg=path)

    def test_the_adapters_are_kept_and_the_body_is_not(self):
        straight, checkpoints = self.made("frozen_with_adapters")
        straight.train_step(tiny.batch())
        checkpoints.save()
        names = self.saved_of_backbone()
        self.assertLen(names, len(straight.backbone.adapter_variables))
        self.assertTrue(all("/adapter/kernel/" in name for name in names), names)
        self.assertEqual(checkpoints.summary()["variables"], len(frozen_variables(straight)))
        straight.train_step(tiny.batch())
        self.assertGreater(max(np.abs(each).max() for each in straight.backbone.adapter_variables), 0)
        resumed, checkpoints = self.made("frozen_with_adapters")
        self.assertEqual(checkpoints.restore_latest(), 1)
        resumed.train_step(tiny.batch())
        self.assert_same(resumed, straight)

    def test_frozen_adapters_are_kept(self):
        detector, checkpoints = self.made("frozen_with_adapters", ADAPTERS)
        self.assertTrue(detector.backbone.frozen)
        with self.subTest("even as they were built, when they are what a new backbone has"):
            self.assertNotEmpty(checkpoints.left_out())
            self.assertFalse([path for path in checkpoints.left_out() if "/adapter/" in path])
        for number, adapter in enumerate(detector.backbone.adapter_variables):
            adapter.assign(tf.fill(adapter.shape, number + 1.0))
        checkpoints.save()
        self.assertLen(self.saved_of_backbone(), len(detector.backbone.adapter_variables))
        other, checkpoints = self.made("frozen_with_adapters", ADAPTERS)
        checkpoints.restore_latest()
        self.assert_same(other, detector)

    def test_fine_tuned_with_adapters_all_is_kept(self):
        detector, checkpoints = self.made("fine_tune_with_adapters")
        for variable in detector.backbone.weights:
            variable.assign(variable + 1.0)
        checkpoints.save()
        self.assertLen(self.saved_of_backbone(), len(detector.backbone.weights))
        other, checkpoints = self.made("fine_tune_with_adapters")
        checkpoints.restore_latest()
        self.assert_same(other, detector)


def _numbered(optimizer):
    return {f"optimizer {number}": variable for number, variable in enumerate(optimizer.variables)}


if __name__ == "__main__":
    tf.test.main()
