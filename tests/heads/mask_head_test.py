import gin
import numpy as np
import tensorflow as tf
from official.vision.losses.maskrcnn_losses import MaskrcnnLoss
from official.vision.modeling.heads.instance_heads import MaskHead as ModelGardenMaskHead
from official.vision.modeling.layers.mask_sampler import MaskSampler

from tests.layer_suite import LayerSuite, VariantSuite
from tf_frozen.config.load import load_config
from tf_frozen.errors import ConfigError
from tf_frozen.heads.box_cascade import RoIs
from tf_frozen.heads.mask_head import MaskHead, mask_loss
from tf_frozen.heads.roi_align import RoIAlign
from tf_frozen.keras_flavor import keras
from tf_frozen.layers.norm import default_norm


def noise(*shape):
    return tf.random.stateless_normal(shape, [len(shape), 1])


class MaskHeadCase:
    sizes = ((4, 4),)

    def inputs(self, batch, size):
        return noise(batch, 5, *size, 6), tf.random.stateless_uniform([batch, 5], [1, 2], 0, 4, tf.int32)

    def shapes(self, batch, size):
        return (batch, 5, 8, 8)


class ClassAwareMaskHeadTest(MaskHeadCase, LayerSuite, tf.test.TestCase):
    def layer(self):
        return MaskHead(3, convs=2, filters=4, norm=default_norm())


class ClassAgnosticMaskHeadTest(MaskHeadCase, VariantSuite, tf.test.TestCase):
    def layer(self):
        return MaskHead(3, convs=1, filters=4, class_agnostic=True, separable=True)


class MaskHeadTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        keras.utils.set_random_seed(0)

    def test_the_paper_s_settings_have_the_paper_s_parameters(self):
        self.addCleanup(gin.clear_config)
        load_config(["norms/batch_norm.gin", "heads/mask_head.gin"], ["NUM_CLASSES = 90"])
        head = MaskHead()
        logits = head((tf.zeros([1, 1, 14, 14, 256]), tf.ones([1, 1], tf.int32)))
        self.assertEqual(logits.shape, (1, 1, 28, 28))
        count = sum(weight.shape.num_elements() for weight in head.trainable_weights)
        self.assertAlmostEqual(count / 1e6, 2.649, delta=0.001 * 2.649)

    def test_computes_what_model_garden_s_head_computes(self):
        for class_agnostic in (False, True):
            inputs = noise(2, 3, 6, 6, 5), tf.constant([[1, 4, 0], [2, 2, 3]])
            theirs = ModelGardenMaskHead(
                5, num_convs=2, num_filters=8, activation="swish", norm_epsilon=1e-4, class_agnostic=class_agnostic
            )
            theirs(list(inputs))
            for weight in theirs.weights:
                change = np.random.uniform(0.1, 0.3, weight.shape)
                weight.assign_add(change if len(weight.shape) == 1 else np.random.normal(0, 0.1, weight.shape))
            head = MaskHead(4, convs=2, filters=8, class_agnostic=class_agnostic, norm=default_norm())
            head(inputs)
            _copy(theirs, head)
            for training in (False, True):
                expected = theirs(list(inputs), training=training)
                self.assertGreater(np.std(expected), 0.05)
                self.assertAllClose(head(inputs, training=training), expected, rtol=0, atol=1e-4)

    def test_each_roi_has_the_mask_of_its_class(self):
        head = MaskHead(3, convs=0, filters=4)
        features = noise(1, 1, 4, 4, 6)
        head((features, tf.constant([[0]])))
        head.bias.assign([0.0, 10.0, 20.0, 30.0])
        head.kernel.assign(tf.zeros_like(head.kernel))
        logits = head((tf.tile(features, [1, 3, 1, 1, 1]), tf.constant([[3, 1, 2]])))
        self.assertAllEqual(logits[0, :, 0, 0], [30.0, 10.0, 20.0])

    def test_classes_by_the_thousand_cost_no_memory(self):
        """300 RoIs of 1204 masks would be 1.1 GB of logits."""
        head = MaskHead(1203, convs=0, filters=2)
        graph = tf.function(head).get_concrete_function((tf.TensorSpec([1, 300, 14, 14, 2]), tf.TensorSpec([1, 300])))
        sizes = [t.shape.num_elements() or 0 for op in graph.graph.get_operations() for t in op.outputs if t.shape.rank]
        self.assertLess(max(sizes), 300 * 28 * 28 * 10)


class LossTest(tf.test.TestCase):
    def test_is_model_garden_s(self):
        logits, targets = noise(2, 5, 28, 28), tf.sigmoid(3.0 * noise(2, 5, 28, 28, 1)[..., 0])
        for classes in ([[1, 0, 3, 2, 0], [0, 0, 0, 5, 0]], [[0] * 5] * 2):
            expected = MaskrcnnLoss()(logits, targets, tf.constant(classes))
            self.assertAllClose(mask_loss(logits, targets, tf.constant(classes) > 0), expected, rtol=0, atol=1e-4)

    def head(self, **arguments):
        head = MaskHead(2, convs=0, filters=4, roi_align=RoIAlign(4), **arguments)
        head((tf.zeros([1, 1, 4, 4, 3]), tf.ones([1, 1], tf.int32)))
        head.kernel.assign(tf.zeros_like(head.kernel))
        return head

    def loss(self, head, classes, index, masks, boxes=((0.0, 0, 16, 16),)):
        rois = tf.tile(tf.constant([[[0.0, 0.0, 16.0, 16.0]]]), [1, len(classes), 1])
        found = RoIs(rois, tf.ones([1, len(classes)], tf.bool), tf.constant([classes]), tf.constant([index]))
        targets = {"boxes": tf.constant([boxes]), "masks": tf.constant(np.uint8([masks]))}
        return float(head.loss_parts({2: tf.zeros([1, 8, 8, 3])}, found, targets)["mask_loss"])

    def test_positive_rois_learn_the_mask_of_their_class_and_object(self):
        head = self.head()
        head.bias.assign([0.0, 20.0, -20.0])
        full, empty = np.ones([8, 8]), np.zeros([8, 8])
        boxes = ((0.0, 0, 16, 16),) * 2
        for classes, index, expected in (
            ([1, 2, 0], [0, 1, 0], 0.0),
            ([2, 1, 0], [0, 1, 0], 20.0),
            ([1, 1, 0], [0, 1, 0], 10.0),
            ([0, 0, 0], [0, 1, 0], 0.0),
        ):
            self.assertAllClose(self.loss(head, classes, index, [full, empty], boxes), expected, atol=0.2)

    def test_the_first_positive_rois_are_the_sample(self):
        head = self.head(samples=2)
        head.bias.assign([0.0, 20.0, -20.0])
        self.assertAllClose(self.loss(head, [0, 1, 0, 1, 2, 2], [0] * 6, [np.ones([8, 8])]), 0.0, atol=0.01)

    def test_a_roi_beside_its_object_learns_the_part_that_it_shows(self):
        """The upper half of the RoI lies above the object, which fills its box."""
        head = self.head()
        loss = self.loss(head, [1], [0], [np.ones([8, 8])], (((8.0, 0, 24, 16)),))
        self.assertAllClose(loss, np.log(2), atol=1e-3)
        head.bias.assign([0.0, 20.0, 0.0])
        self.assertAllClose(self.loss(head, [1], [0], [np.ones([8, 8])], (((8.0, 0, 24, 16)),)), 10.0, atol=0.6)

    def test_sampling_and_targets_are_model_garden_s(self):
        """Its sampler reads masks half a cell off (geometry/masks_test.py): its boxes are moved by that."""
        random = np.random.RandomState(0)
        head = MaskHead(4, convs=1, filters=8, roi_align=RoIAlign(7), samples=6)
        corner, side = random.uniform(0, 60, [2, 3, 2]), random.uniform(20, 60, [2, 3, 2])
        objects = np.float32(np.concatenate([corner, corner + side], -1))
        index = np.int32(random.randint(0, 3, [2, 20]))
        classes = np.int32(random.randint(1, 5, [2, 20]) * (random.uniform(size=[2, 20]) < 0.4))
        matched = np.take_along_axis(objects, index[..., np.newaxis], 1)
        boxes = np.float32(matched + random.uniform(-6, 6, matched.shape))
        masks = np.uint8(random.uniform(size=[2, 3, 56, 56]) < 0.5)
        half = np.tile(matched[..., 2:] - matched[..., :2], 2) / 56 / 2
        sampler = MaskSampler(mask_target_size=14, num_sampled_masks=6)
        rois, roi_classes, targets = sampler(boxes, np.float32(matched + half), classes, index, np.float32(masks))
        pyramid = {level: noise(2, 128 >> level, 128 >> level, 3) for level in (2, 3)}
        head._logits(pyramid, rois, roi_classes, training=False)
        head.kernel.assign(noise(8, 5))
        logits = head._logits(pyramid, rois, roi_classes, training=False)
        found = head.loss_parts(
            pyramid,
            RoIs(tf.constant(boxes), tf.ones([2, 20], tf.bool), tf.constant(classes), tf.constant(index)),
            {"boxes": tf.constant(objects), "masks": tf.constant(masks)},
        )["mask_loss"]
        self.assertGreater(np.std(logits), 0.1)
        self.assertAllClose(found, MaskrcnnLoss()(logits, targets, roi_classes), rtol=0, atol=1e-4)

    def test_data_without_masks_are_explained(self):
        one = tf.ones([1, 1], tf.int32)
        rois = RoIs(tf.zeros([1, 1, 4]), one > 0, one, one)
        with self.assertRaisesRegex(ConfigError, r"CocoJson\.masks = True"):
            self.head().loss_parts({2: tf.zeros([1, 8, 8, 3])}, rois, {"boxes": tf.zeros([1, 1, 4])})


class DetectTest(tf.test.TestCase):
    def test_probabilities_are_the_class_s_and_padding_has_none(self):
        head = MaskHead(2, convs=0, filters=4)
        head((tf.zeros([1, 1, 14, 14, 3]), tf.ones([1, 1], tf.int32)))
        head.kernel.assign(tf.zeros_like(head.kernel))
        head.bias.assign([9.0, 0.0, np.log(3.0)])
        boxes = tf.constant([[[0.0, 0, 16, 16], [4, 4, 9, 9], [0, 0, 0, 0]]])
        masks = head.detect({2: noise(1, 8, 8, 3)}, boxes, tf.constant([[2, 1, 0]]))
        self.assertEqual((masks.shape, masks.dtype), ((1, 3, 28, 28), tf.float32))
        self.assertAllClose(masks, np.broadcast_to(np.reshape([0.75, 0.5, 0.0], [1, 3, 1, 1]), masks.shape))


def _copy(theirs, head):
    """Their convolutions have a bias before the norm, which shifts the mean that the norm takes off."""
    convs = [w for w in theirs.weights if "mask-conv_" in w.name or "upsampling" in w.name]
    kernels, biases = convs[::2], convs[1::2]
    norms = [*theirs._conv_norms, theirs._deconv_bn]
    ours = [(block.conv, block.norm) for block in head.conv_blocks] + [(head.upsample, head.upsample_norm)]
    for kernel, bias, norm, (conv, own_norm) in zip(kernels, biases, norms, ours, strict=True):
        gamma, beta, mean, variance = norm.get_weights()
        conv.set_weights([kernel.numpy()])
        own_norm.set_weights([gamma, beta, mean - bias.numpy(), variance])
    kernel, bias = theirs._mask_regressor.get_weights()
    head.kernel.assign(kernel[0, 0])
    head.bias.assign(bias)


if __name__ == "__main__":
    tf.test.main()
