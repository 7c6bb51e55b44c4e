import os

import numpy as np
import pytest
import tensorflow as tf

from tests.detectors.overfit import overfit, parts
from tf_frozen.data import images
from tf_frozen.data.category import Category
from tf_frozen.data.example import Example
from tf_frozen.data.paths import resolve
from tf_frozen.data.sources.image_files import ImageFiles
from tf_frozen.detectors.rcnn import RCNN
from tf_frozen.evaluation.coco import score
from tf_frozen.keras_flavor import keras

SIDE, STEPS = 128, 120
# Corner (x, y) of a square of a tile that cuts through no tree, and its trees [x, y, width, height] as drawn.
PATCHES = {
    "train_0691_0760.jpg": (
        (208, 208),
        [
            [45, 4, 31, 34],
            [15, 28, 31, 44],
            [32, 86, 43, 37],
            [58, 36, 35, 28],
            [84, 7, 26, 32],
            [80, 57, 33, 32],
            [82, 85, 33, 32],
        ],
    ),
    "train_1036_1139.jpg": ((0, 112), [[48, 22, 68, 62], [7, 71, 37, 36], [41, 96, 24, 28], [15, 28, 31, 35]]),
}


@pytest.mark.slow
class OverfitTest(tf.test.TestCase):
    def test_two_photographs_are_learnt_by_heart(self):
        keras.utils.set_random_seed(0)
        source = self.source()
        model = RCNN(*parts(32, 1, 20), frame=(SIDE, SIDE), weight_decay=0.0)
        model(tf.zeros([1, SIDE, SIDE, 3]))
        rows = overfit(model, source, 2, STEPS)
        metrics = score(source.ground_truth, rows)
        self.assertGreater(metrics["AP"], 0.9)
        self.assertEqual(metrics["AP50"], 1.0)

    def source(self):
        examples, paths = [], []
        for number, (name, ((x, y), boxes)) in enumerate(PATCHES.items()):
            tile = images.read(os.path.join(resolve("embedded:neon_trees/train"), name))
            paths.append(os.path.join(self.get_temp_dir(), f"{number}.png"))
            tf.io.write_file(paths[-1], tf.io.encode_png(tile[y : y + SIDE, x : x + SIDE]))
            x, y, w, h = np.transpose(np.float32(boxes))
            examples.append(Example(number, SIDE, SIDE, np.stack([y, x, y + h, x + w], -1), [1] * len(boxes)))
        return ImageFiles(examples, [Category(7, "tree")], paths)


if __name__ == "__main__":
    tf.test.main()
