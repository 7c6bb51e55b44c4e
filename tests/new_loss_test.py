"""A class loss of one's own is one module and a binding for each head, and no file of the package changes."""

import os
import pathlib
import sys

import gin
import numpy as np
import pytest
import tensorflow as tf

from tests.detectors.keras_habits_test import IMAGES, SIDE, batches
from tf_frozen.config.load import load_config
from tf_frozen.detectors.rcnn import RCNN
from tf_frozen.detectors.single_stage import SingleStage
from tf_frozen.errors import ConfigError
from tf_frozen.keras_flavor import keras

MODULE = '''
import gin
import tensorflow as tf
from tf_frozen.config.ranges import Rate
from tf_frozen.losses.class_loss import ClassLoss

@gin.configurable
class Smoothed(ClassLoss):
    """Sigmoid cross entropy with smoothed labels; images without a box, whose labels are doubtful, cost nothing."""

    def __init__(self, smoothing: Rate = 0.1):
        self.smoothing = smoothing

    def __call__(self, logits, labels, targets):
        smooth = labels * (1.0 - self.smoothing) + 0.5 * self.smoothing
        cross_entropy = tf.nn.sigmoid_cross_entropy_with_logits(smooth, logits)
        boxed = tf.reduce_any(targets["classes"] > 0, 1, keepdims=True)
        return tf.reduce_sum(cross_entropy, -1) * tf.cast(boxed, tf.float32)
'''
GIN = """
include 'necks/fpn_small.gin'
include 'heads/retinanet_small.gin'
include 'heads/region_proposal_small.gin'
include 'heads/box_cascade_small.gin'
include 'detectors/retinanet.gin'
include 'detectors/rcnn.gin'
import tests.training.tiny_run
import smoothed

NUM_CLASSES = 2
DETECTIONS = 5
SEED = 0
BACKBONE = @TinyBackbone()
FPN.filters = 8
FPN.min_level = 3
FPN.max_level = 3
DenseHead.class_loss = @Smoothed()
BoxCascade.class_loss = @Smoothed()
Smoothed.smoothing = 0.2
"""


class NewLossTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        folder = pathlib.Path(self.get_temp_dir())
        (folder / "smoothed.py").write_text(MODULE)
        (folder / "smoothed.gin").write_text(GIN)
        sys.path.insert(0, str(folder))
        self.addCleanup(sys.path.remove, str(folder))
        self.addCleanup(gin.clear_config)
        self.file = str(folder / "smoothed.gin")

    @pytest.mark.slow
    def test_both_kinds_of_detector_train_with_it_and_are_saved_with_it(self):
        for kind, holder in ((SingleStage, "head"), (RCNN, "box_heads")):
            with self.subTest(kind.__name__):
                load_config([self.file], [f"FRAME = ({SIDE}, {SIDE})"])
                keras.utils.set_random_seed(0)
                detector = kind()
                loss = getattr(detector, holder).class_loss
                self.assertEqual(repr(loss), "Smoothed(smoothing=0.2)")
                detector.compile(keras.optimizers.Adam(1e-2))
                history = detector.fit(batches().repeat(3), epochs=2, verbose=0).history
                self.assertLess(history["class_loss"][1], history["class_loss"][0])
                path = os.path.join(self.get_temp_dir(), "detector.keras")
                detector.save(path)
                again = keras.models.load_model(path)
                self.assertEqual(getattr(again, holder).class_loss, loss)
                found = again(IMAGES)
                for name, value in detector(IMAGES).items():
                    self.assertAllEqual(found[name], value, name)

    def test_its_scores_are_sigmoids_in_a_box_head(self):
        load_config([self.file], [f"FRAME = ({SIDE}, {SIDE})"])
        cascade = RCNN().box_heads
        logits = tf.constant([[[9.0, 0.0, np.log(3.0)]]])
        self.assertAllClose(cascade._probabilities([logits]), [[[0.5, 0.75]]])

    def test_its_parameters_are_checked_where_they_are_bound(self):
        for line, message in (
            ("Smoothed.smoothing = 1.0", "smoothing is 1.0; it must be a number from 0 and below 1"),
            ("Smoothed.smooth = 0.1", "no parameter 'smooth'. Did you mean 'smoothing'"),
        ):
            with self.assertRaisesRegex(ConfigError, message):
                load_config([self.file], [f"FRAME = ({SIDE}, {SIDE})", line])


if __name__ == "__main__":
    tf.test.main()
