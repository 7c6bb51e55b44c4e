import json
import shutil
import signal
import tempfile
from pathlib import Path

import gin
import numpy as np
import pytest
import tensorflow as tf

from tests.commands import job
from tests.training import tiny, tiny_run
from tests.training.tiny import state
from tf_frozen.errors import ConfigError
from tf_frozen.keras_flavor import keras
from tf_frozen.training.opening import load_run
from tf_frozen.training.phases import carry_over
from tf_frozen.training.run import Run

UNTIL, STEPS = 2, 20
FREEZE_FIRST = (
    "import tf_frozen.freezing",
    f"TRAIN_STEPS = {STEPS}",
    "BACKBONE_MODE = 'fine_tune'",
    "Run.policy = @Policy()",
    "Policy.rules = [('backbone/.*', 'frozen')]",
    f"Policy.until = {UNTIL}",
    "Run.checkpoint_seconds = 1e6",
)
FILES = ("augmentation/upright.gin",)


@pytest.mark.slow
class PhasesTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.addCleanup(gin.clear_config)
        self.folder = tiny_run.write(self.enter_context(tempfile.TemporaryDirectory()) + "/job")

    def run_of(self, name, *params):
        return tiny_run.load(self.folder, self.folder / name, *FREEZE_FIRST, *params, files=FILES)

    def only(self, name, step):
        """A run as a kill right after `step` leaves it."""
        shutil.copytree(self.folder / "straight", self.folder / name)
        for file in (self.folder / name / "checkpoints").iterdir():
            if not file.name.startswith(f"ckpt-{step}."):
                file.unlink()

    def kill_behind_the_switch(self, name):
        """Goes on with a run in a separate process, and kills it in the second phase."""
        run = self.folder / name
        words = tiny_run.words(self.folder, run, *FREEZE_FIRST, "Run.checkpoint_seconds = 0", files=FILES)
        process = job.Process(words, self.folder / "log", self.folder)
        code = process.end(signal.SIGKILL, lambda: job.saved_step(run) > UNTIL)
        self.assertEqual(code, -signal.SIGKILL, process.output)
        self.assertIn(f"Resuming from step {UNTIL}:", process.output)
        self.assertBetween(job.saved_step(run), UNTIL + 1, STEPS - 1)

    def test_the_features_of_a_backbone_that_will_train_are_not_cached(self):
        with self.assertRaisesRegex(ConfigError, f"Run.feature_cache is 'cache'.* Policy.until is {UNTIL}: .*trains"):
            self.run_of("cached", "Run.feature_cache = 'cache'").train()
        self.assertFalse((self.folder / "cached").exists())

    def test_freezes_first_and_ends_the_same_after_going_on_at_the_switch_and_behind_it(self):
        self.assertTrue(self.run_of("straight").train())
        straight, step = state(str(self.folder / "straight"))
        self.assertEqual(step, STEPS)
        self.assertTrue(any("backbone" in name for name in straight))
        audit = json.loads(Path(self.folder, "straight", "freezing.json").read_text())
        self.assertEqual((audit["from_step"], audit["verdict"]), (UNTIL, "nothing is frozen"))
        self.assertEqual([(p["from_step"], p["verdict"]) for p in audit["phases"]], [(0, "frozen")])
        self.assertEqual(audit["left_out"]["variables"], 12)
        first = tf.train.list_variables(str(self.folder / "straight" / "checkpoints" / f"ckpt-{UNTIL}"))
        self.assertFalse([name for name, _ in first if name.startswith("detector/backbone")])
        self.only("resumed", UNTIL)
        self.kill_behind_the_switch("resumed")
        self.assertTrue(self.run_of("resumed").train())
        found, step = state(str(self.folder / "resumed"))
        self.assertEqual((step, found.keys()), (STEPS, straight.keys()))
        for path, value in straight.items():
            np.testing.assert_array_equal(found[path], value, err_msg=path)
        load_run(str(self.folder / "straight"))
        detector = Run(str(self.folder / "straight")).restored_detector(f"ckpt-{UNTIL}")
        self.assertTrue(detector.backbone.frozen)


class CarryOverTest(tf.test.TestCase):
    def test_keeps_slots_averages_step_and_scale_of_what_trained_before(self):
        for scaled in (False, True):
            wrap = keras.mixed_precision.LossScaleOptimizer if scaled else lambda optimizer: optimizer
            first, second = (tf.Variable(tf.ones([3]), name=name) for name in ("first", "second"))
            before, after = wrap(tiny.adam()), wrap(tiny.adam())
            before.build([second])
            for _ in range(2):
                before.apply_gradients([(tf.fill([3], 2.0), second)])
            after.build([first, second])
            carry_over(before, after, [first, second])
            self.assertEqual(int(after.iterations), 2)
            old, new = (getattr(each, "inner_optimizer", each) for each in (before, after))
            for name in ("_momentums", "_velocities", "_model_variables_moving_average"):
                kept, slots = getattr(old, name), getattr(new, name)
                self.assertGreater(np.abs(kept[0] - slots[0]).max(), 0)
                np.testing.assert_array_equal(slots[1], kept[0], err_msg=name)
            np.testing.assert_array_equal(new._model_variables_moving_average[0], first)
            if scaled:
                self.assertEqual(int(before.dynamic_counter), 2)
                self.assertEqual(int(after.dynamic_counter), 2)


if __name__ == "__main__":
    tf.test.main()
