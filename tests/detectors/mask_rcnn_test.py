import numpy as np
import tensorflow as tf

from tests.detectors import rcnn_test
from tests.freezing import tiny
from tf_frozen.detectors.mask_rcnn import MaskRCNN
from tf_frozen.detectors.test_time_augmentation import TestTimeAugmentation
from tf_frozen.errors import ConfigError
from tf_frozen.heads.mask_head import MaskHead
from tf_frozen.heads.roi_align import RoIAlign
from tf_frozen.keras_flavor import keras


def mask_rcnn(mode="frozen", **arguments):
    boxes = rcnn_test.rcnn(mode)
    # Of an untrained group norm's features every mask is its own, as scores are.
    head = MaskHead(2, 1, 6, roi_align=RoIAlign(4), norm=keras.layers.GroupNormalization(groups=2))
    return MaskRCNN(
        boxes.backbone, boxes.neck, boxes.region_proposal, boxes.box_heads, head, frame=boxes.frame, **arguments
    )


def batch():
    """The tiny batch, its objects being the upper half of their boxes."""
    images, targets = tiny.batch()
    half = np.repeat([1, 0], 8).astype(np.uint8)
    return images, {**targets, "masks": tf.constant(np.broadcast_to(half[:, np.newaxis], [2, 1, 16, 16]))}


class MaskRCNNSuiteTest(rcnn_test.RCNNSuiteTest):
    def layer(self):
        return mask_rcnn()

    def trainable_layer(self):
        return mask_rcnn("fine_tune")

    def shapes(self, batch, size):
        return {**super().shapes(batch, size), "masks": (batch, rcnn_test.DETECTIONS, 8, 8)}

    def differentiated(self, layer, inputs):
        feature_maps = layer.backbone(layer.backbone.preprocess(inputs), training=False)
        return layer.loss_parts(
            layer.neck(feature_maps, training=False), self.sizes[0], batch()[1], tf.constant([1, 2])
        )


class MaskRCNNTest(tf.test.TestCase):
    def test_a_step_trains_the_masks_beside_the_boxes(self):
        keras.utils.set_random_seed(0)
        model = mask_rcnn()
        images, targets = batch()
        model(images)
        model.compile(keras.optimizers.SGD(0.5))
        losses = [float(model.train_step((images, targets))["mask_loss"]) for _ in range(20)]
        self.assertAllClose(losses[0], np.log(2), atol=0.02)
        self.assertLess(losses[-1], 0.3)

    def test_boxes_and_their_losses_are_those_of_rcnn(self):
        keras.utils.set_random_seed(0)
        model, boxes = mask_rcnn(), rcnn_test.rcnn()
        images, targets = batch()
        found, _ = model(images), boxes(images)
        boxes.set_weights([*model.get_weights()[: len(boxes.weights)]])
        expected = boxes(images)
        for name, value in expected.items():
            self.assertAllEqual(found[name], value)
        self.assertGreater(np.std(found["masks"]), 0.0)
        losses, own = model.training_losses(images, targets), boxes.training_losses(images, targets)
        self.assertEqual({*losses} - {*own}, {"mask_loss"})
        for name, value in own.items():
            self.assertAllEqual(losses[name], value)

    def test_masks_are_float32_probabilities_whatever_the_layers_compute_in(self):
        before = keras.mixed_precision.global_policy()
        self.addCleanup(keras.mixed_precision.set_global_policy, before)
        keras.mixed_precision.set_global_policy("mixed_bfloat16")
        found = mask_rcnn()(batch()[0])
        self.assertEqual(found["masks"].dtype, tf.float32)
        self.assertAllInRange(found["masks"], 0.0, 1.0)

    def test_that_test_time_augmentation_is_explained(self):
        with self.assertRaisesRegex(ConfigError, "MaskRCNN.test_time_augmentation must be None"):
            mask_rcnn(test_time_augmentation=TestTimeAugmentation())


if __name__ == "__main__":
    tf.test.main()
