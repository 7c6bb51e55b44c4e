import json
import shutil
import tempfile
from unittest import mock

import gin
import numpy as np
import pytest
import tensorflow as tf

from tests.training import tiny_run
from tests.training.tiny import state
from tf_frozen.backbones.efficientnet_lite import EfficientNetLite
from tf_frozen.detectors.single_stage import SingleStage
from tf_frozen.errors import ConfigError, FreezeError
from tf_frozen.freezing.audit import CHECKS
from tf_frozen.freezing.fingerprint import fingerprints
from tf_frozen.freezing.variable_paths import variable_paths
from tf_frozen.keras_flavor import keras
from tf_frozen.training.opening import load_run
from tf_frozen.training.run import Run

RATE = ("LEARNING_RATE = 1e-2", "LEARNING_RATE_BATCH = 2")


@gin.configurable
class LeakyDetector(SingleStage):
    """Has a fault: its training step changes a frozen variable."""

    def train_step(self, data):
        kernel = self.backbone.network.get_layer("first_conv").kernel
        kernel.assign_add(1e-3 * tf.ones_like(kernel))
        return super().train_step(data)


@gin.configurable
class HiddenLeakDetector(SingleStage):
    """Has the same fault where no trace shows it."""

    def train_step(self, data):
        kernel = self.backbone.network.get_layer("first_conv").kernel
        tf.py_function(lambda: [kernel.assign_add(1e-3 * tf.ones_like(kernel))][1:], [], [])
        return super().train_step(data)


def backbone_fingerprints(detector):
    return fingerprints(variable_paths(detector.backbone))


@pytest.mark.slow
class RunTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.addCleanup(gin.clear_config)
        self.folder = tiny_run.write(self.enter_context(tempfile.TemporaryDirectory()) + "/job")
        self.model_dir = self.folder / "run"

    def run_of(self, *params, files=()):
        """A run of two steps that was set up by these parameters."""
        return tiny_run.load(self.folder, self.model_dir, "TRAIN_STEPS = 2", *params, files=files)

    def pretrained_run_of(self, *params):
        """The same, on the stages of EfficientNet-Lite0 up to the second level."""
        return self.run_of("EfficientNetLite.levels = (2, 3)", *params, files=tiny_run.PRETRAINED)

    def audit(self):
        return json.loads((self.model_dir / "freezing.json").read_text())

    def test_frozen_keeps_the_pretrained_backbone_bit_for_bit(self):
        pretrained = fingerprints(variable_paths(EfficientNetLite(levels=(2, 3))))
        run = self.pretrained_run_of("AdamW.ema_momentum = 0.8", *RATE)
        self.assertTrue(run.train())
        self.assertEqual(backbone_fingerprints(run.restored_detector()), pretrained)
        self.assertEqual(self.audit()["verdict"], "frozen")
        parameters = run.parameters()
        self.assertEqual(parameters["trainable"] + parameters["frozen"], parameters["total"])
        with self.subTest("the averages are restored, the weights are kept to go on from"):
            saved = state(str(self.model_dir))[0]["detector/neck/convs/3/kernel/.ATTRIBUTES/VARIABLE_VALUE"]
            averaged = run.restored_detector().neck.convs["3"].kernel.numpy()
            self.assertGreater(np.abs(saved - averaged).max(), 0)
            self.assertLess(np.abs(saved - averaged).max(), 0.1)
        with self.subTest("done already, and with another learning rate"):
            again = self.pretrained_run_of("AdamW.ema_momentum = 0.8", RATE[1], "LEARNING_RATE = 1e-4")
            with self.assertLogs("tf_frozen", "INFO") as log:
                self.assertTrue(again.train())
            said = "\n".join(log.output)
            self.assertIn("This run has trained all its 2 steps.", said)
            self.assertNotIn("step 2/2", said)
            self.assertEqual([self.audit()[check] for check in CHECKS], [0] * 7)
            for change in ("- LEARNING_RATE = 0.01", "+ LEARNING_RATE = 0.0001"):
                self.assertIn(change, said)
            self.assertNotIn("TRAIN_STEPS", said)

    def test_the_length_follows_the_data_and_the_best_checkpoint_is_the_result(self):
        by_epochs = ("TRAIN_STEPS = None", "EPOCHS = 2", "LEAST_STEPS = 1", "Run.evaluate_every = 2", *RATE)
        with self.assertLogs("tf_frozen", "INFO") as log:
            self.assertTrue(self.run_of(*by_epochs).train())
        said = "\n".join(log.output)
        self.assertIn("Starting: 4 steps of 2 images in all, 2 epochs of 4 images.", said)
        self.assertRegex(said, r"Learning rate: 0.01 in step 1, .* in step 4\.")
        self.assertNotIn("does not come to its end", said)
        self.assertIn("TRAIN_STEPS = 4\n", (self.model_dir / "config.gin").read_text())
        lines = [json.loads(line) for line in (self.model_dir / "metrics.jsonl").read_text().splitlines()]
        self.assertEqual([(line["step"], line["images"]) for line in lines], [(2, 2), (4, 2)])
        best = json.loads((self.model_dir / "best" / "best.json").read_text())
        self.assertEqual(best["value"], max(line["AP"] for line in lines))
        with self.subTest("an older checkpoint that scored better is scored, exported and, in the end, replaced"):
            (self.model_dir / "best" / "best.json").write_text(json.dumps(best | {"step": 2, "value": 0.9}))
            for file in (self.model_dir / "checkpoints").glob("ckpt-4.*"):
                (self.model_dir / "best" / file.name.replace("-4", "-2")).write_bytes(file.read_bytes())
            load_run(str(self.model_dir))
            run = Run(str(self.model_dir))
            self.assertEqual(run.train_steps, 4)
            with self.assertLogs("tf_frozen", "INFO") as log:
                run.evaluate()
            self.assertIn("the best of the run: AP 0.900 on 2 val images.", "\n".join(log.output))
        with self.subTest("images that are added do not change the length; other settings do"):
            document = json.loads((self.folder / "train.json").read_text())
            shutil.copy(self.folder / "photos" / document["images"][0]["file_name"], self.folder / "photos" / "new.jpg")
            document["images"].append({**document["images"][0], "id": "new", "file_name": "new.jpg"})
            (self.folder / "train.json").write_text(json.dumps(document))
            with self.assertLogs("tf_frozen", "INFO") as log:
                self.assertTrue(self.run_of(*by_epochs).train())
            self.assertIn("This run has trained all its 4 steps.", "\n".join(log.output))
            longer = self.run_of(*by_epochs[:1], "EPOCHS = 2.4", *by_epochs[2:])
            self.assertTrue(longer.train())
            self.assertEqual(longer.train_steps, 6)
        with self.subTest("fewer steps than it has"), self.assertLogs("tf_frozen", "INFO") as log:
            self.assertTrue(self.run_of("TRAIN_STEPS = 3").train())
            self.assertIn("trained 6 steps, more than the 3 of Run.train_steps", "\n".join(log.output))

    def test_fine_tune_changes_the_pretrained_backbone(self):
        run = self.pretrained_run_of("BACKBONE_MODE = 'fine_tune'", "TRAIN_STEPS = 3")
        pretrained = variable_paths(EfficientNetLite(levels=(2, 3)))
        self.assertTrue(run.train())
        trained = variable_paths(run.restored_detector().backbone)
        changed = {path for path in trained if np.any(trained[path].numpy() != pretrained[path].numpy())}
        self.assertEqual(changed, set(pretrained))
        largest = max(
            np.abs(trained[path].numpy() - pretrained[path].numpy()).max()
            for path in trained
            if path.endswith("kernel")
        )
        self.assertLess(largest, 0.1)
        self.assertEqual((self.audit()["verdict"], self.audit()["frozen_variables"]), ("nothing is frozen", 0))
        self.assertEqual(run.parameters()["frozen"], 0)

    def test_scratch_trains_random_weights(self):
        run = self.pretrained_run_of("BACKBONE_MODE = 'scratch'")
        self.assertTrue(run.train())
        self.assertEqual(run.parameters()["frozen"], 0)
        kernel = run.restored_detector().backbone.network.get_layer("stem_conv").kernel
        pretrained = EfficientNetLite(levels=(2, 3)).network.get_layer("stem_conv").kernel
        self.assertGreater(np.abs(kernel - pretrained).max(), 0.1)

    def test_frozen_random_keeps_random_weights_and_a_step_is_traced_once(self):
        run, traced = self.pretrained_run_of("BACKBONE_MODE = 'frozen_random'"), []
        step = SingleStage.train_step
        with mock.patch.object(SingleStage, "train_step", lambda *args: traced.append(1) or step(*args)):
            self.assertTrue(run.train())
        self.assertLen(traced, 1)
        found = self.audit()
        self.assertEqual((found["verdict"], found["start"]), ("frozen", found["end"]))
        pretrained = fingerprints(variable_paths(EfficientNetLite(levels=(2, 3))))
        stem = next(path for path in pretrained if path.endswith("stem_conv/kernel"))
        self.assertNotEqual(found["start"]["fingerprints"][f"backbone/{stem}"], pretrained[stem])

    def test_trains_in_half_precision_and_goes_on(self):
        for precision, layer_dtype in (("mixed_bfloat16", "bfloat16"), ("mixed_float16", "float16")):
            with self.subTest(precision):
                self.model_dir = self.folder / precision
                settings = (f"Run.precision = '{precision}'", "TRAIN_STEPS = 1")
                self.assertTrue(self.run_of(*settings).train())
                detector = self.run_of(*settings).restored_detector()
                self.assertEqual(detector.neck.convs["3"].compute_dtype, layer_dtype)
                self.assertEqual({weight.dtype for weight in detector.weights}, {tf.float32})
                self.assertEqual(keras.mixed_precision.global_policy().name, "float32")
        with self.subTest("the scale of the loss is saved and restored"):
            self.assertTrue(self.run_of("Run.precision = 'mixed_float16'").train())
            saved, step = state(str(self.model_dir))
            scales = [value for name, value in saved.items() if "/current_loss_scale/" in name]
            self.assertEqual((step, [scale > 1 for scale in scales]), (2, [True]))
        with self.assertRaisesRegex(ConfigError, "Run.precision is 'float16'.*mixed_bfloat16"):
            self.run_of("Run.precision = 'float16'")

    def test_a_step_that_would_change_a_frozen_variable_is_found_before_it_runs(self):
        written = "1 frozen variables are written to in the train step: backbone/stage_2/first_conv/kernel"
        with self.assertRaisesRegex(FreezeError, written):
            self.run_of("Run.detector = @LeakyDetector").train()
        self.assertFalse((self.model_dir / "checkpoints").exists())
        found = self.audit()
        self.assertEqual((found["verdict"], found["writes"]), ("broken", 1))
        self.assertRegex(found["names"]["writes"][0], "backbone/stage_2/first_conv/kernel")

    def test_a_frozen_variable_that_changes_fails_the_run(self):
        leaky = ("Run.detector = @HiddenLeakDetector", "Run.train_steps = 1")
        with self.assertRaisesRegex(
            FreezeError, "1 frozen variables changed during training: backbone/stage_2/first_conv/kernel"
        ):
            self.run_of(*leaky).train()
        found = self.audit()
        self.assertEqual((found["verdict"], found["changed"]), ("broken", 1))
        self.assertNotEqual(found["start"]["digest"], found["end"]["digest"])
        with self.assertRaisesRegex(FreezeError, "changed since the run began"):
            self.run_of(*leaky).train()


if __name__ == "__main__":
    tf.test.main()
