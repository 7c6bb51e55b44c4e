import numpy as np
import tensorflow as tf

from tests.freezing import tiny
from tests.layer_suite import LayerSuite
from tf_frozen.backbones.efficientnet_lite import EfficientNetLite
from tf_frozen.detectors.rcnn import RCNN
from tf_frozen.heads.box_cascade import BoxCascade
from tf_frozen.heads.box_head import BoxHead
from tf_frozen.heads.nms import NMS
from tf_frozen.heads.proposal_nms import ProposalNMS
from tf_frozen.heads.region_proposal import RegionProposal
from tf_frozen.keras_flavor import keras
from tf_frozen.layers.norm import default_norm
from tf_frozen.necks.nas_fpn import NASFPN

DETECTIONS = 7
CELL = ((0, "sum", (0, 1), True), (1, "attention", (1, 2), True))


def rcnn(mode="frozen", class_agnostic=True, norm=None):
    head = BoxHead(2, 0, fcs=1, fc_units=8, class_agnostic=class_agnostic, norm=norm)
    # An untrained batch norm does not normalize in inference, and scores of 0 and 1 test little: a group norm does.
    neck_norm = keras.layers.GroupNormalization(groups=2)
    return RCNN(
        EfficientNetLite(levels=(3,), mode=mode),
        NASFPN(6, 1, 3, 4, CELL, norm=neck_norm),
        RegionProposal(6, nms=ProposalNMS(candidates=(20, 20), proposals=(10, 10)), norm=norm),
        BoxCascade(head, (0.5, 0.6), ((10, 10, 5, 5),) * 2, nms=NMS(score_threshold=0.0, detections=DETECTIONS)),
        frame=(tiny.SIZE, tiny.SIZE),
    )


class RCNNSuiteTest(LayerSuite, tf.test.TestCase):
    def layer(self):
        return rcnn()

    def trainable_layer(self):
        return rcnn("fine_tune")

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


class RCNNTest(tf.test.TestCase):
    def step(self, model):
        images, targets = tiny.batch()
        model(images)
        model.compile(keras.optimizers.SGD(0.01))
        logs = model.train_step((images, targets))
        values = {name: float(value) for name, value in logs.items()}
        self.assertAllInSet(np.isfinite(list(values.values())), [True])
        return values

    def test_class_aware_boxes_train_and_detect(self):
        model = rcnn(class_agnostic=False)
        self.step(model)
        self.assertAllInRange(model(tiny.batch()[0])["classes"], 0, 2)

    def test_a_step_in_half_precision_has_the_losses_of_float32(self):
        expected_model = rcnn(norm=default_norm())
        expected_model(tiny.batch()[0])
        weights = expected_model.get_weights()
        expected = self.step(expected_model)
        before = keras.mixed_precision.global_policy()
        self.addCleanup(keras.mixed_precision.set_global_policy, before)
        for policy in ("mixed_bfloat16", "mixed_float16"):
            keras.mixed_precision.set_global_policy(policy)
            model = rcnn(norm=default_norm())
            model(tiny.batch()[0])
            model.set_weights(weights)
            self.assertAllClose(self.step(model), expected, rtol=0.2, atol=0.02)
            self.assertEqual({weight.dtype for weight in model.trainable_weights}, {tf.float32})

    def test_detections_keep_whole_precision_where_layers_compute_in_half(self):
        """Pixels of a frame of thousands: in float16 boxes would move by whole pixels, in bfloat16 by eight."""
        before = keras.mixed_precision.global_policy()
        self.addCleanup(keras.mixed_precision.set_global_policy, before)
        keras.mixed_precision.set_global_policy("mixed_bfloat16")
        cascade = rcnn().box_heads
        boxes, size = tf.constant([[[1001.25, 3.5, 1403.75, 900.125]]]), tf.constant([[2047.5, 1023.5]])
        maps = {3: tf.zeros([1, 256, 128, 6], tf.bfloat16)}
        cascade((maps, boxes, size))
        for head in cascade.heads:
            head.deltas.kernel.assign(tf.zeros_like(head.deltas.kernel))
        self.assertAllClose(cascade((maps, boxes, size))[1][:, :, 0], boxes, rtol=0, atol=1e-3)


if __name__ == "__main__":
    tf.test.main()
