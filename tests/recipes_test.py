"""Tests of recipes.py."""

import copy
import re

import gin
import tensorflow as tf

import tf_frozen as tff
from tf_frozen.config.load import load_config
from tf_frozen.errors import ConfigError
from tf_frozen.training.run import Run


def config_of(detector):
    """The configuration without the numbers that Keras gives names."""
    return re.sub(r"_\d+'", "'", str(detector.get_config()))


class RecipesTest(tf.test.TestCase):
    def by_gin(self, gin_file, *gin_params):
        self.addCleanup(gin.clear_config)
        load_config([gin_file], gin_params)
        return copy.deepcopy(gin.get_bindings(Run, resolve_references=False)["detector"])()

    def test_detectors_are_those_of_the_gin_files(self):
        for make, gin_file in (
            (tff.cascade_rcnn, "runs/train_on_coco_json.gin"),
            (tff.mask_rcnn, "runs/train_masks_on_coco_json.gin"),
            (tff.retinanet, "runs/small_retinanet.gin"),
        ):
            with self.subTest(gin_file):
                expected = config_of(self.by_gin(gin_file, "NUM_CLASSES = 3", "DETECTIONS = 100"))
                self.assertEqual(config_of(make(num_classes=3)), expected)
                self.assertNotEqual(config_of(make(num_classes=4)), expected)

    def test_parts_and_settings_take_the_place_of_the_recipe_s_and_gin_keeps_nothing(self):
        gin.clear_config()
        detector = tff.retinanet(
            num_classes=2, neck="bifpn_small", frame=(64, 96), mode="fine_tune", gin_params=["BiFPN.repeats = 2"]
        )
        self.assertEqual((detector.frame, detector.backbone.mode, detector.neck.repeats), ((64, 96), "fine_tune", 2))
        self.assertEqual(gin.config_str().strip(), "")

    def test_an_unknown_part_is_an_error_with_the_nearest_names(self):
        with self.assertRaisesRegex(ConfigError, "Did you mean 'backbones/efficientnet_lite0.gin'"):
            tff.cascade_rcnn("efficientnet_lit0", num_classes=2)
