"""Runs whose pretrained weights come from a file: without it, with it again, and with another in its place."""

import tempfile

import gin
import numpy as np
import pytest
import tensorflow as tf

from tests.commands import job
from tf_frozen.backbones.efficientnet_lite import EfficientNetLite
from tf_frozen.config.load import load_config
from tf_frozen.data.category import Category
from tf_frozen.errors import ConfigError, RunError
from tf_frozen.freezing.audit import Audit
from tf_frozen.training.opening import load_run
from tf_frozen.training.run import Run


def write_weights(path, scale=1.0):
    """The embedded weights under the keys that EfficientNetLite reads, all times `scale`."""
    layers = EfficientNetLite(levels=(2, 3)).network.layers
    arrays = {f"{layer.name}/{i}": w for layer in layers for i, w in enumerate(layer.get_weights())}
    np.savez(path, **{name: array * scale for name, array in arrays.items()})


class Pyramid(tf.Module):
    """Two strided convolutions, to be saved as a backbone."""

    def __init__(self):
        super().__init__()
        self.patches = tf.Variable(tf.random.stateless_normal([4, 4, 3, 8], [1, 2]) / 500)
        self.halves = tf.Variable(tf.random.stateless_normal([2, 2, 8, 8], [3, 4]))

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3])])
    def __call__(self, images):
        fine = tf.nn.conv2d(images, self.patches, 4, "SAME")
        return {"2": fine, "3": tf.nn.conv2d(fine, self.halves, 2, "SAME")}


class SettingTest(tf.test.TestCase):
    def test_what_checkpoints_hold_is_one_of_two(self):
        for value in ("all", None, True):
            with self.assertRaisesRegex(ConfigError, f"Run.checkpoints is {value!r}; .*(trained, everything|a string)"):
                Run("nowhere", *[object] * 4, train_steps=1, batch_size=1, checkpoints=value)


@pytest.mark.slow
class SourceTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.addCleanup(gin.clear_config)
        self.folder = job.write_job(self.enter_context(tempfile.TemporaryDirectory()) + "/job")
        self.source, self.model_dir = self.folder / "weights.npz", str(self.folder / "run")
        write_weights(self.source)

    def started(self, *params, files=()):
        """The detector of a run that has left what one has after a step, without the time that a step takes."""
        files = [job.FILES[0], str(self.folder / job.FILES[1]), *files]
        load_config(files, [*job.data_params(self.folder), f"EfficientNetLite.weights = '{self.source}'", *params])
        run = Run(self.model_dir)
        detector, _, checkpoints = run._builder.built
        detector.optimizer.iterations.assign(1)
        checkpoints.save()
        categories = [Category(job.TREE, "tree"), Category(job.SHRUB, "shrub")]
        run._audit.current = Audit(detector, detector.optimizer)  # started without the trace that takes seconds
        run._record(categories, step=0)
        return detector

    def again(self, *params):
        """The run as `evaluate` and `export` find it."""
        load_run(self.model_dir, params)
        return Run(self.model_dir)

    def test_a_small_checkpoint_needs_its_source(self):
        trained = self.started()
        moved = self.source.rename(self.folder / "moved.npz")
        with self.subTest("the file is gone"):
            for words in (("evaluate",), ("export", "--output", self.folder / "exported")):
                code, _, error = job.command(*words, "--model_dir", self.model_dir)
                self.assertEqual(code, 2, error)
                self.assertNotIn("Traceback", error)
                self.assertRegex(error, r"do not hold [1-9]\d* frozen variables of the backbone")
                for said in (f"came from EfficientNet-Lite0, {self.source}", "--gin_param", "'everything'"):
                    self.assertIn(said, error)
        with self.subTest("another file is in its place"):
            write_weights(self.source, 1.5)
            with self.assertRaisesRegex(RunError, r"trained on another backbone(.|\n)*variables of other values"):
                self.again().restored_detector()
        with self.subTest("the file is elsewhere"):
            self.assert_same(self.again(f"EfficientNetLite.weights = '{moved}'").restored_detector(), trained)
        with self.subTest("the file is back"):
            moved.rename(self.source)
            self.assert_same(self.again().restored_detector(), trained)

    def test_a_whole_checkpoint_needs_no_source(self):
        trained = self.started("Run.checkpoints = 'everything'")
        self.source.unlink()
        run = self.again()
        self.assertIn("AP50", run.evaluate().metrics)
        self.assert_same(run.restored_detector(), trained)

    def test_a_run_on_a_saved_model_is_opened_again(self):
        path = str(self.folder / "pyramid")
        tf.saved_model.save(Pyramid(), path)
        for holds in ("trained", "everything"):
            params = (f"BACKBONE_SAVED_MODEL = '{path}'", "SavedModelBackbone.levels = (2, 3)")
            params += (f"Run.checkpoints = '{holds}'", f"Run.seed = {len(holds)}")
            trained = self.started(*params, files=["backbones/saved_model.gin"])
            self.assertNotEmpty(trained.backbone.weights)
            found = self.again().restored_detector()
            for weight, expected in zip(found.get_weights(), trained.get_weights(), strict=True):
                self.assertAllEqual(weight, expected)

    def test_fine_tuned_with_adapters_it_is_restored_as_it_was(self):
        trained = self.started("BACKBONE_MODE = 'fine_tune_with_adapters'", "ResidualAdapters.depthwise = True")
        found = self.again().restored_detector()
        self.assertEqual(found.backbone.mode, "fine_tune_with_adapters")
        self.assertNotEmpty(found.backbone.adapter_variables)
        self.assert_same(found, trained)

    def assert_same(self, found, expected):
        for weight, other in zip(found.weights, expected.weights, strict=True):
            np.testing.assert_array_equal(weight, other, err_msg=weight.name)


if __name__ == "__main__":
    tf.test.main()
