"""The two stages with the paper's gin files against the detector that Model Garden builds from its official settings.

Random feature maps stand for backbone and neck, weights are copied, sizes are small; all else is what the files say.
"""

import gin
import numpy as np
import tensorflow as tf
from official.vision.configs import common
from official.vision.configs import maskrcnn as configs
from official.vision.losses.maskrcnn_losses import FastrcnnBoxLoss
from official.vision.modeling import factory
from official.vision.modeling.heads.dense_prediction_heads import RPNHead
from official.vision.modeling.heads.instance_heads import DetectionHead
from official.vision.modeling.layers.roi_generator import MultilevelROIGenerator
from official.vision.ops.anchor import Anchor, RpnAnchorLabeler
from official.vision.tasks.maskrcnn import MaskRCNNTask

from tf_frozen.config.load import load_config
from tf_frozen.geometry import boxes as box_ops
from tf_frozen.heads.balanced_sampler import BalancedSampler
from tf_frozen.heads.box_cascade import BoxCascade
from tf_frozen.heads.box_head import BoxHead
from tf_frozen.heads.proposal_nms import ProposalNMS
from tf_frozen.heads.region_proposal import RegionProposal
from tf_frozen.keras_flavor import keras
from tf_frozen.layers.norm import default_norm
from tf_frozen.losses.sigmoid_cross_entropy import SigmoidCrossEntropy

FRAME, LEVELS, CLASSES = (256, 256), range(3, 6), 3
SIZE = tf.constant([FRAME, FRAME], tf.float32)
# Many anchors overlap the last, of 4 pixels, equally. In its mirror image as many anchors are positive, and as many
# negative.
TRUTH = np.float32(
    [[10.3, 9.1, 84.2, 75.6], [60.7, 62.4, 180.9, 208.8], [120.1, 20.2, 214.3, 66.7], [226.0, 126.0, 230.0, 130.0]]
)
MIRRORED = np.float32([[y1, FRAME[1] - x2, y2, FRAME[1] - x1] for y1, x1, y2, x2 in TRUTH])
TARGETS = {
    "boxes": tf.stack([TRUTH, MIRRORED]),
    "classes": tf.constant([[1, 2, 3, 2], [3, 1, 1, 2]]),
    "image_size": SIZE,
}
SEED = tf.constant([1, 2])
IMAGES = tf.zeros([2, *FRAME, 3])
PROPOSALS = 60
ROIS = PROPOSALS + len(TRUTH)


def pyramid():
    return {
        level: tf.random.stateless_normal([2, FRAME[0] >> level, FRAME[1] >> level, 8], [level, 5]) for level in LEVELS
    }


def keyed(maps):
    return {str(level): value for level, value in maps.items()}


def shake(layer):
    """Gives every weight, the statistics too, a random value, the same in every run."""
    random = np.random.default_rng(0)
    for weight in layer.weights:
        noise = random.normal(0, 0.15, weight.shape)
        weight.assign(1 + np.abs(noise) if "variance" in weight.name else ("gamma" in weight.name) + noise)


def copy_block(conv, norm, our_conv, our_norm):
    """Model Garden's convolutions have a bias before the norm too, where all it does is move the mean."""
    kernel, bias = conv.get_weights()
    our_conv.set_weights([np.reshape(kernel, our_conv.kernel.shape)])
    gamma, beta, mean, variance = norm.get_weights()
    our_norm.set_weights([gamma, beta, mean - bias, variance])


def copy_region_proposal(theirs, ours):
    for index, conv in enumerate(theirs._convs):
        for level, norms in zip(LEVELS, theirs._norms, strict=True):
            copy_block(conv, norms[index], ours.tower.hidden[index], ours.tower.norms[f"{level}_{index}"])
    ours.score.set_weights(theirs._classifier.get_weights())
    ours.delta.set_weights(theirs._box_regressor.get_weights())


def copy_box_head(theirs, ours):
    layers = zip(theirs._convs + theirs._fcs, theirs._conv_norms + theirs._fc_norms, strict=True)
    for (layer, norm), block in zip(layers, ours.conv_blocks + ours.fc_blocks, strict=True):
        copy_block(layer, norm, getattr(block, "conv", None) or block.dense, block.norm)
    ours.classes.set_weights(theirs._classifier.get_weights())
    ours.deltas.set_weights(theirs._box_regressor.get_weights())


def in_a_model(layer, inputs):
    """A model of the layer alone: from it Model Garden's heads know whether they train."""
    given = tf.nest.map_structure(lambda x: keras.Input(x.shape[1:]), inputs)
    return keras.Model(given, layer(given))


class HeadsTest(tf.test.TestCase):
    def test_region_proposal(self):
        maps = pyramid()
        theirs = RPNHead(3, 5, 3, 2, 16, activation="swish", norm_momentum=0.9, norm_epsilon=1e-4)
        model, ours = in_a_model(theirs, keyed(maps)), RegionProposal(16, 2, norm=default_norm())
        ours(maps)
        shake(theirs)
        copy_region_proposal(theirs, ours)
        for training in (True, False):  # inference with the statistics that training left
            scores, boxes = model(keyed(maps), training=training)
            for level, (logits, deltas) in ours(maps, training=training).items():
                self.assertAllClose(logits, tf.reshape(scores[str(level)], [2, -1]), rtol=0, atol=1e-4)
                self.assertAllClose(deltas, tf.reshape(boxes[str(level)], [2, -1, 4]), rtol=0, atol=1e-4)

    def test_box_head(self):
        features = tf.random.stateless_normal([2, 5, 7, 7, 6], [1, 2])
        for agnostic in (False, True):
            theirs = DetectionHead(
                CLASSES + 1, 2, 8, False, 2, 16, agnostic, "swish", norm_momentum=0.9, norm_epsilon=1e-4
            )
            model = in_a_model(theirs, features)
            ours = BoxHead(CLASSES, 2, 8, 2, 16, agnostic, norm=default_norm())
            ours(features)
            shake(theirs)
            copy_box_head(theirs, ours)
            for training in (True, False):  # inference with the statistics that training left
                classes, boxes = model(features, training=training)
                logits, deltas = ours(features, training=training)
                self.assertAllClose(logits, classes, rtol=0, atol=1e-4)
                self.assertAllClose(deltas, tf.reshape(boxes, deltas.shape), rtol=0, atol=1e-4)


class PaperSettingsTest(tf.test.TestCase):
    """The gin files as they are, with the 90 classes of COCO."""

    def load(self, *names):
        self.addCleanup(gin.clear_config)
        load_config(
            ["norms/batch_norm.gin", *(f"heads/{name}.gin" for name in names)], ["NUM_CLASSES = 90", "DETECTIONS = 100"]
        )

    def test_parameters_are_the_paper_s(self):
        # With the 3.937 million of its FPN the second makes the 21.86 of the paper's R101 FPN, the first 21.26.
        for names, proposal_millions, head_millions in (
            (("region_proposal", "box_head"), 0.596, 16.729),
            (("region_proposal_2_convs", "box_head"), 1.189, 16.729),
            (("region_proposal", "box_cascade"), 0.596, 16.360),
        ):
            self.load(*names)
            for layer, inputs, millions in (
                (RegionProposal(), {level: tf.zeros([1, 2, 2, 256]) for level in range(3, 8)}, proposal_millions),
                (BoxHead(), tf.zeros([1, 1, 7, 7, 256]), head_millions),
            ):
                layer(inputs)
                count = sum(weight.shape.num_elements() for weight in layer.trainable_weights)
                self.assertAlmostEqual(count / 1e6, millions, delta=0.0015 * millions)

    def test_kernels_start_as_wide_as_model_garden_s(self):
        self.load("region_proposal", "box_head")
        proposal, head = RegionProposal(), BoxHead(fc_units=256)
        rpn, detection = RPNHead(3, 3, 3), DetectionHead(91, 1, fc_dims=256)
        maps, features = tf.zeros([1, 2, 2, 256]), tf.zeros([1, 1, 7, 7, 256])
        for layer, inputs in ((proposal, {3: maps}), (rpn, {"3": maps}), (head, features), (detection, features)):
            layer(inputs)
        for ours, theirs in (
            (proposal.tower.hidden[0], rpn._convs[0]),
            (proposal.score, rpn._classifier),
            (proposal.delta, rpn._box_regressor),
            (head.conv_blocks[0].conv, detection._convs[0]),
            (head.fc_blocks[0].dense, detection._fcs[0]),
            (head.fc_blocks[1].dense, detection._fcs[1]),
            (head.classes, detection._classifier),
            (head.deltas, detection._box_regressor),
        ):
            widths = [float(tf.math.reduce_std(layer.kernel)) for layer in (ours, theirs)]
            self.assertAllClose(widths[0], widths[1], rtol=0.15, msg=theirs.name)


class ProposalsTest(tf.test.TestCase):
    """Of images that fill the frame and of one that is half padding."""

    def test_same_as_model_garden(self):
        head = RegionProposal(nms=ProposalNMS(candidates=(150, 60), proposals=(120, 50)))
        anchors = Anchor(3, 5, 1, [0.5, 1.0, 2.0], 8.0, FRAME).multilevel_boxes
        random, raw, scores, boxes = np.random.default_rng(0), {}, {}, {}
        for level in LEVELS:
            cells = [3, FRAME[0] >> level, FRAME[1] >> level]
            scores[str(level)] = tf.constant(random.normal(0, 2, [*cells, 3]), tf.float32)
            boxes[str(level)] = tf.constant(random.normal(0, 0.1, [*cells, 12]), tf.float32)
            raw[level] = tf.reshape(scores[str(level)], [3, -1]), tf.reshape(boxes[str(level)], [3, -1, 4])
        anchors = {level: tf.tile(value[tf.newaxis], [3, 1, 1, 1]) for level, value in anchors.items()}
        size = tf.constant([FRAME, FRAME, [256, 120]], tf.float32)
        generator = MultilevelROIGenerator(150, num_proposals=120, test_pre_nms_top_k=60, test_num_proposals=50)
        for training in (True, False):
            expected, _ = generator(boxes, scores, anchors, size, training)
            found, valid = head.propose(raw, FRAME, size, training)
            self.assertAllEqual(valid[:2], np.ones(valid[:2].shape))
            self.assertAllClose(found[:2], expected[:2], rtol=0, atol=1e-4)
            # Boxes of the padding have no area once they are cut to the image. Model Garden proposes them all the
            # same; ours does not, and has room for others.
            expected = expected[2][box_ops.area(expected[2]) > 0]
            self.assertBetween(len(expected), 20, found.shape[1] - 5)
            self.assertAllClose(found[2][: len(expected)], expected, rtol=0, atol=1e-4)


class DetectorTest(tf.test.TestCase):
    """Both stages, without cascade and with it: losses, then detections, from the same feature maps."""

    def test_faster_rcnn(self):
        self.check("heads/box_head.gin", further_ious=None)

    def test_cascade_rcnn(self):
        self.check("heads/box_cascade.gin", further_ious=[0.7, 0.8])

    def check(self, box_heads, further_ious):
        theirs, task = model_garden(further_ious)
        labels, sampled = their_anchor_labels()
        proposal, cascade = self.ours(box_heads, sampled)
        self.assertEqual(cascade.ious, (0.5, *(further_ious or ())))
        theirs(IMAGES, SIZE, training=False)
        proposal(pyramid())
        cascade((pyramid(), TARGETS["boxes"], SIZE))
        shake(theirs)
        # Small steps: no proposal leaves the image, where ours differ (ProposalsTest), and no RoI its box.
        for head, step in ((theirs.rpn_head, 0.1), *((head, 0.5) for head in theirs.detection_head)):
            head._box_regressor.kernel.assign(step * head._box_regressor.kernel)
        copy_region_proposal(theirs.rpn_head, proposal)
        for head, our_head in zip(theirs.detection_head, cascade.heads, strict=True):
            copy_box_head(head, our_head)
        self.check_detections(proposal, cascade, theirs)
        self.check_losses(proposal, cascade, theirs, task, labels)

    def check_detections(self, proposal, cascade, theirs):
        outputs = theirs(IMAGES, SIZE, training=False)
        proposals = proposal.propose(proposal(pyramid(), training=False), FRAME, SIZE, training=False)
        found = cascade.detect(pyramid(), *proposals, SIZE)
        self.assertAllInRange(found["count"], 10, 99)
        self.assertAllEqual(found["count"], outputs["num_detections"])
        for image, count in enumerate(found["count"]):
            for name, unit in (("boxes", FRAME[0]), ("scores", 1.0), ("classes", 1.0)):
                expected = outputs[f"detection_{name}"][image, :count]
                self.assertAllClose(found[name][image, :count], expected, rtol=0, atol=1e-5 * unit, msg=name)

    def check_losses(self, proposal, cascade, theirs, task, labels):
        truth = TARGETS["boxes"], TARGETS["classes"]
        outputs = theirs(IMAGES, SIZE, gt_boxes=truth[0], gt_classes=truth[1], training=True)
        raw = proposal(pyramid(), training=True)
        proposals = proposal.propose(raw, FRAME, SIZE, training=True)
        parts, rois = cascade.losses_and_rois(pyramid(), *proposals, TARGETS, SEED)
        parts |= proposal.loss_parts(raw, FRAME, TARGETS, SEED)
        self.check_rois(rois, cascade.coder_weights, outputs)
        expected = (*task._build_rpn_losses(outputs, labels), *task._build_frcnn_losses(outputs, labels))
        self.assertAllClose(parts["box_loss"], expected[-1], rtol=0, atol=1e-4)
        expected = (*expected[:-1], unguarded_box_loss(outputs, len(cascade.heads)))
        for name, value in zip(("rpn_score_loss", "rpn_box_loss", "class_loss", "box_loss"), expected, strict=True):
            self.assertAllClose(parts[name], value, rtol=1e-4, atol=0, msg=name)
            self.assertGreater(value, 0.01, name)

    def check_rois(self, rois, coders, outputs):
        """The last stage's: classes, and what their boxes are to become."""
        suffix = "_2" if len(coders) == 3 else ""
        classes = outputs[f"class_targets{suffix}"]
        self.assertAllEqual(rois.valid, np.ones([2, ROIS]))
        self.assertAllEqual(rois.classes, classes)
        self.assertBetween(np.sum(outputs["class_targets"] > 0), 7, 40)
        self.assertBetween(np.sum(classes > 0), 4, 2 * len(TRUTH) if suffix else 40)
        box_targets = box_ops.encode(tf.gather(TARGETS["boxes"], rois.index, batch_dims=1), rois.boxes, coders[-1])
        positive = rois.classes > 0
        self.assertAllClose(box_targets[positive], outputs[f"box_targets{suffix}"][positive], rtol=1e-4, atol=1e-4)

    def ours(self, box_heads, sampled):
        """Region proposal and box heads of the gin files, in small, and with samples that take all there is."""
        self.addCleanup(gin.clear_config)
        load_config(
            ["norms/batch_norm.gin", "heads/region_proposal.gin", box_heads],
            [f"NUM_CLASSES = {CLASSES}", "DETECTIONS = 100"],
        )
        samples = [gin.query_parameter(f"{head}/BalancedSampler.samples") for head in ("proposal", "box")]
        self.assertEqual(gin.query_parameter("proposal/SigmoidCrossEntropy.weight"), samples[0] / samples[1])
        proposal = RegionProposal(
            16,
            sampler=BalancedSampler(10**6),
            class_loss=SigmoidCrossEntropy(sampled / ROIS),
            nms=ProposalNMS(candidates=(200, 100), proposals=(PROPOSALS, 25)),
        )
        cascade = BoxCascade(BoxHead(convs=2, filters=8, fc_units=16), sampler=BalancedSampler(ROIS, 0.9))
        return proposal, cascade


def model_garden(further_ious):
    """Model Garden's detector and the task that reckons its losses; official defaults but for sizes and samples."""
    cascade = further_ious is not None
    config = configs.MaskRCNN(
        num_classes=CLASSES + 1,
        input_size=[*FRAME, 3],
        min_level=LEVELS[0],
        max_level=LEVELS[-1],
        include_mask=False,
        rpn_head=configs.RPNHead(num_filters=16),
        detection_head=configs.DetectionHead(
            num_convs=2,
            num_filters=8,
            num_fcs=2,
            fc_dims=16,
            class_agnostic_bbox_pred=cascade,
            cascade_class_ensemble=cascade,
        ),
        roi_generator=configs.ROIGenerator(
            pre_nms_top_k=200, num_proposals=PROPOSALS, test_pre_nms_top_k=100, test_num_proposals=25
        ),
        roi_sampler=configs.ROISampler(
            num_sampled_rois=ROIS, foreground_fraction=0.9, cascade_iou_thresholds=further_ious
        ),
        detection_generator=configs.DetectionGenerator(nms_version="v1"),
        norm_activation=common.NormActivation(activation="swish", norm_momentum=0.997, norm_epsilon=1e-4),
    )
    model = factory.build_maskrcnn(
        keras.layers.InputSpec(shape=[None, *FRAME, 3]),
        config,
        backbone=lambda images: keyed(pyramid()),
        decoder=lambda features: features,
    )
    return model, MaskRCNNTask(configs.MaskRCNNTask(model=config))


def unguarded_box_loss(outputs, stages):
    """Model Garden's, without the 0.01 that it adds to four times the positive RoIs, so as not to divide by zero."""
    losses = []
    for stage in range(stages):
        keys = [f"{kind}_{stage}" if stage else kind for kind in ("box_outputs", "class_targets", "box_targets")]
        deltas, classes, box_targets = (outputs[key] for key in keys)
        count = 4 * np.sum(classes > 0)
        losses.append(
            FastrcnnBoxLoss(1.0, class_agnostic_bbox_pred=stages > 1)(deltas, classes, box_targets)
            * (count + 0.01)
            / count
        )
    return np.mean(losses)


def their_anchor_labels():
    """Model Garden's labels of the anchors, and how many anchors of an image they make count."""
    anchors = Anchor(LEVELS[0], LEVELS[-1], 1, [0.5, 1.0, 2.0], 8.0, FRAME).multilevel_boxes
    labeler = RpnAnchorLabeler(0.7, 0.3, rpn_batch_size_per_im=10**6)
    images = [
        labeler.label_anchors(anchors, boxes, classes[:, tf.newaxis])
        for boxes, classes in zip(TARGETS["boxes"], TARGETS["classes"], strict=True)
    ]
    scores, boxes = (
        {level: tf.stack([labels[level] for labels in kind]) for level in anchors} for kind in zip(*images, strict=True)
    )
    counts = sum(np.sum(level.numpy() >= 0, (1, 2, 3)) for level in scores.values())
    assert counts[0] == counts[1]
    return {"rpn_score_targets": scores, "rpn_box_targets": boxes}, int(counts[0])


if __name__ == "__main__":
    tf.test.main()
