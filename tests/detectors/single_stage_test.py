import copy

import gin
import numpy as np
import pytest
import tensorflow as tf

import tf_frozen.training.run  # noqa: F401 (what detectors/*.gin bind)
from tests.freezing import tiny
from tests.layer_suite import LayerSuite
from tf_frozen.backbones.efficientnet_lite import EfficientNetLite
from tf_frozen.config.load import load_config
from tf_frozen.detectors.single_stage import SingleStage
from tf_frozen.freezing.savings import savings
from tf_frozen.heads.dense_head import DenseHead
from tf_frozen.heads.nms import NMS
from tf_frozen.keras_flavor import keras
from tf_frozen.layers.building import build, unallocated
from tf_frozen.layers.norm import default_norm
from tf_frozen.necks.nas_fpn import NASFPN

DETECTIONS = 7
CELL = ((0, "sum", (0, 1), True), (1, "attention", (1, 2), True))


def single_stage(mode="frozen", norm=None, separable=False):
    # An untrained batch norm does not normalize in inference, and scores of 0 and 1 test little: a group norm does.
    neck_norm = keras.layers.GroupNormalization(groups=2)
    return SingleStage(
        EfficientNetLite(levels=(3,), mode=mode),
        NASFPN(6, 1, 3, 4, CELL, norm=neck_norm),
        DenseHead(2, 6, 1, nms=NMS(score_threshold=0.0, detections=DETECTIONS), norm=norm, separable=separable),
        frame=(tiny.SIZE, tiny.SIZE),
    )


class SingleStageSuiteTest(LayerSuite, tf.test.TestCase):
    def layer(self):
        return single_stage()

    def trainable_layer(self):
        return single_stage("fine_tune")

    def inputs(self, batch, size):
        return tf.random.stateless_uniform([batch, *size, 3], [1, 2], maxval=255.0)

    def shapes(self, batch, size):
        rows = (batch, DETECTIONS)
        return {"boxes": (*rows, 4), "scores": rows, "classes": rows, "count": (batch,)}

    def differentiated(self, layer, inputs):
        feature_maps = layer.backbone(layer.backbone.preprocess(inputs), training=False)
        _, targets = tiny.batch()
        return layer.loss_parts(layer.neck(feature_maps, training=False), self.sizes[0], targets, tf.constant([1, 2]))

    def check_half_precision(self, outputs, expected, tolerance):
        """Which boxes survive suppression may differ; the best scores may not."""
        index = sorted(self.shapes(1, self.sizes[0])).index("scores")
        self.assertClose([outputs[index][:, 0]], [expected[index][:, 0]], tolerance)


class SingleStageTest(tf.test.TestCase):
    @pytest.mark.slow
    def test_retinanet_s_gin_files_train_what_the_paper_s_detector_does(self):
        self.addCleanup(gin.clear_config)
        files = "backbones/resnet_rs50", "norms/batch_norm", "necks/fpn_3_7", "heads/retinanet", "detectors/retinanet"
        macros = {
            "NUM_CLASSES": 91,
            "DETECTIONS": 100,
            "SEED": 0,
            "BACKBONE_MODE": "frozen_random",
            "FRAME": (640, 640),
        }
        params = [f"{name} = {value!r}" for name, value in {**macros, "INIT_CHECKPOINT": None}.items()]
        load_config([f"{file}.gin" for file in files], params)
        with unallocated():
            model = copy.deepcopy(gin.get_bindings("Run", resolve_references=False)["detector"])()
            build(model)
        parameters = savings(model, count_flops=False)["parameters"]
        self.assertAllClose(parameters["trainable"], 10.58e6, rtol=0.001)
        self.assertAllClose(parameters["frozen"], 33.643e6, rtol=0.001)

    def step(self, model, train_step=None):
        return {name: float(value) for name, value in (train_step or model.train_step)(tiny.batch()).items()}

    def compiled(self, weights=None, **options):
        model = single_stage(**options)
        model(tiny.batch()[0])
        if weights is not None:
            model.set_weights(weights)
        model.compile(keras.optimizers.Adam(0.01))
        return model

    def test_trains_what_is_not_frozen_and_finds_what_it_learned(self):
        keras.utils.set_random_seed(3)
        model = self.compiled(norm=keras.layers.GroupNormalization(groups=3))
        frozen = [weight.numpy() for weight in model.backbone.weights]
        graph = tf.function(model.train_step, autograph=False)
        losses = [self.step(model, graph) for _ in range(40)]
        self.assertEqual(set(losses[0]), {"loss", "class_loss", "box_loss", "weight_decay"})
        self.assertAllClose(losses[0]["loss"], sum(losses[0].values()) - losses[0]["loss"])
        self.assertLess(losses[-1]["loss"], 0.2 * losses[0]["loss"])
        for before, weight in zip(frozen, model.backbone.weights, strict=True):
            self.assertAllEqual(before, weight)
        found = model(tiny.batch()[0])
        self.assertAllEqual(found["classes"][:, 0], [1, 1])
        self.assertAllClose(found["boxes"][:, 0], [[4.0, 4.0, 40.0, 40.0]] * 2, atol=4.0)

    def test_a_step_in_half_precision_has_the_losses_of_float32(self):
        expected_model = self.compiled(norm=default_norm())
        weights = expected_model.get_weights()
        expected = self.step(expected_model)
        for norm in expected_model.head.class_tower.norms.values():
            self.assertGreater(np.abs(norm.moving_mean).max(), 0.0)  # so the head trains on batch statistics
        before = keras.mixed_precision.global_policy()
        self.addCleanup(keras.mixed_precision.set_global_policy, before)
        for policy in ("mixed_bfloat16", "mixed_float16"):
            keras.mixed_precision.set_global_policy(policy)
            model = self.compiled(weights, norm=default_norm())
            self.assertAllClose(self.step(model), expected, rtol=0.1, atol=0.02)
            self.assertEqual({weight.dtype for weight in model.trainable_weights}, {tf.float32})


if __name__ == "__main__":
    tf.test.main()
