"""The lines of docs/in_your_model.md are run as they stand."""

import os
import pathlib
import re
import tempfile

import keras as keras_3
import numpy as np
import pytest
import tensorflow as tf

from tf_frozen.errors import ConfigError
from tf_frozen.keras_flavor import keras
from tf_frozen.necks.nas_fpn import NASFPN

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "in_your_model.md"
PHOTOGRAPHS = np.random.default_rng(0).uniform(0, 255, [4, 128, 128, 3]).astype(np.float32)
TARGETS = {
    "boxes": np.float32([[[8, 8, 60, 60], [0, 0, 0, 0]]] * 4),
    "classes": np.int32([[2, 0]] * 4),
    "image_size": np.float32([[128, 128]] * 4),
}


@pytest.mark.slow
class InYourModelTest(tf.test.TestCase):
    def run_block(self, number):
        """The names that a block of the page leaves behind."""
        block = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[number]
        self.assertLessEqual(len([line for line in block.splitlines() if line and "import" not in line]), 10)
        batches = tf.data.Dataset.from_tensor_slices((PHOTOGRAPHS, TARGETS)).batch(2)
        names = {"photographs": PHOTOGRAPHS, "labels": np.arange(4), "batches": batches, "val_batches": batches.take(1)}
        folder, before = self.enter_context(tempfile.TemporaryDirectory()), os.getcwd()
        self.addCleanup(os.chdir, before)
        os.chdir(folder)
        exec(compile(block, PAGE.name, "exec"), names)
        return names

    def test_a_neck_in_a_functional_model_trains_saves_and_loads(self):
        names = self.run_block(0)
        loaded = keras.models.load_model("model.keras")
        self.assertAllEqual(loaded.predict(PHOTOGRAPHS, verbose=0), names["model"].predict(PHOTOGRAPHS, verbose=0))
        self.assertEqual(names["pyramid"][5].shape[1:], (4, 4, 32))
        self.assertEmpty(names["backbone"].trainable_variables)
        self.assertNotEmpty(names["model"].trainable_variables)

    def test_a_detector_trains_evaluates_detects_saves_and_goes_on(self):
        names = self.run_block(1)
        self.assertLen(names["history"]["val_box_loss"], 2)
        self.assertEqual(list(names["losses"]), ["loss", "class_loss", "box_loss"])
        again = names["detector"]
        for key, value in again(PHOTOGRAPHS).items():
            self.assertAllEqual(value, names["found"][key])
        again.fit(names["batches"].repeat(25), verbose=0)
        self.assertEqual(int(again.optimizer.iterations), 54)
        # Two objects an image at most, none of them learnt yet: statistics far off would give hundreds.
        self.assertLess(np.sum(again(PHOTOGRAPHS)["scores"] > 0.5), 40)

    def test_the_page_shows_the_error_of_another_keras(self):
        with self.assertRaises(ConfigError) as caught:
            NASFPN(norm=keras_3.layers.BatchNormalization())
        self.assertIn(str(caught.exception).split(" tf_frozen")[0], PAGE.read_text(encoding="utf-8"))


if __name__ == "__main__":
    tf.test.main()
