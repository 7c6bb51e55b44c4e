"""A neck of one's own is one module and one gin file, and no file of the package changes."""

import json
import os
import subprocess
import sys
import tempfile

import pytest
import tensorflow as tf

from tests.commands import job

MODULE = '''
import gin
import tensorflow as tf
from tf_frozen.keras_flavor import keras

@gin.configurable
class OneConvEach(keras.layers.Layer):
    """Gives each level a convolution of its own, and pools the highest once for the level above it."""

    def __init__(self, filters: int = 64, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters

    def build(self, input_shape):
        self.convs = {str(level): keras.layers.Conv2D(self.filters, 1) for level in input_shape}

    def call(self, pyramid, training=None):
        levels = {level: self.convs[str(level)](x) for level, x in pyramid.items()}
        top = max(levels)
        return {**levels, top + 1: tf.nn.max_pool2d(levels[top], 2, 2, "SAME")}
'''
GIN = """# Purpose: one convolution a level.
import one_conv_each

OneConvEach.filters = 8
NECK = @OneConvEach()
"""


@pytest.mark.slow
class NewNeckTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = job.write_job(self.enter_context(tempfile.TemporaryDirectory()) + "/job")
        (self.folder / "one_conv_each.py").write_text(MODULE)
        (self.folder / "one_conv_each.gin").write_text(GIN)

    def command(self, *words):
        """Output of the installed command in `folder`, with that folder on PYTHONPATH."""
        path = os.pathsep.join([str(self.folder), *filter(None, [os.environ.get("PYTHONPATH")])])
        script = "import sys; from tf_frozen.cli import main; sys.exit(main())"
        process = subprocess.run(
            [sys.executable, "-c", script, *words],
            cwd=self.folder,
            env=os.environ | {"PYTHONPATH": path},
            capture_output=True,
            text=True,
        )
        self.assertEqual(process.returncode, 0, process.stderr)
        return process.stdout

    def test_is_inspected_and_trained_and_exported(self):
        words = job.train_words("", "run", "TRAIN_STEPS = 2", files=["one_conv_each.gin"])
        report = json.loads(self.command("inspect", *words[1:-1], "--json"))
        rows = {row["path"]: row for row in report["layers"] if row["path"].startswith("neck/")}
        self.assertEqual({row["type"] for row in rows.values()}, {"Conv2D"})
        # 24 and 40 channels come in at strides 4 and 8, 8 go out.
        self.assertEqual(report["parts"]["neck"]["parameters"]["trainable"], (24 + 40 + 2) * 8)
        output = self.command(*words)
        self.assertIn("gives the same", output)
        summary = json.loads((self.folder / "run" / "summary.json").read_text())
        self.assertEqual(summary["trainable_parameters"], report["parameters"]["trainable"])
        self.assertIn("import one_conv_each\n", (self.folder / "run" / "config.gin").read_text())


if __name__ == "__main__":
    tf.test.main()
