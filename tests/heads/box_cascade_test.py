import math

import numpy as np
import tensorflow as tf

from tests.layer_suite import LayerSuite, VariantSuite
from tf_frozen.errors import ConfigError
from tf_frozen.heads.balanced_sampler import BalancedSampler
from tf_frozen.heads.box_cascade import BoxCascade
from tf_frozen.heads.box_head import BoxHead
from tf_frozen.heads.nms import NMS
from tf_frozen.heads.roi_align import RoIAlign
from tf_frozen.layers.norm import default_norm
from tf_frozen.losses.sigmoid_cross_entropy import SigmoidCrossEntropy

SIZE = tf.constant([[100.0, 100.0]])
PROPOSALS = tf.constant([[[10.0, 10, 30, 50], [50, 50, 90, 90]]])
CODERS = ((10, 10, 5, 5), (20, 20, 10, 10), (30, 30, 15, 15), (40, 40, 20, 20))


def pyramid(batch=1, channels=4):
    return {
        level: tf.random.stateless_normal([batch, 128 >> level, 128 >> level, channels], [level, 3]) for level in (3, 4)
    }


def cascade(classes=2, stages=1, class_agnostic=True, logits=None, deltas=None, ious=(0.5, 0.6, 0.7, 0.8), **kwargs):
    """A cascade whose heads say the same of every RoI: `logits` of each class, `deltas` of each box."""
    head = BoxHead(classes, convs=0, fcs=1, fc_units=4, class_agnostic=class_agnostic)
    layer = BoxCascade(head, ious[:stages], CODERS[:stages], **kwargs)
    layer((pyramid(), PROPOSALS, SIZE))
    for stage in layer.heads:
        for dense, bias in ((stage.classes, logits), (stage.deltas, deltas)):
            zeros = np.zeros(dense.units)
            dense.set_weights([np.zeros(dense.kernel.shape), zeros if bias is None else np.reshape(bias, [-1])])
    return layer


def targets(boxes, classes):
    return {
        "boxes": tf.reshape(tf.constant(boxes, tf.float32), [1, -1, 4]),
        "classes": tf.constant([classes], tf.int32),
        "image_size": SIZE,
    }


class BoxCascadeCase:
    def inputs(self, batch, size):
        maps = {
            level: tf.random.stateless_normal([batch, *(-(-side // 2**level) for side in size), 6], [level, 2])
            for level in (3, 4)
        }
        corner = tf.random.stateless_uniform([batch, 5, 2], [1, 2], maxval=20.0)
        boxes = tf.concat([corner, corner + 5.0 + 1.5 * corner[..., ::-1]], -1)
        return maps, boxes, tf.tile(tf.constant([size], tf.float32), [batch, 1])

    def shapes(self, batch, size):
        return (batch, 5, 3), (batch, 5, self.boxes, 4)


class ClassAgnosticBoxCascadeTest(BoxCascadeCase, LayerSuite, tf.test.TestCase):
    boxes = 1

    def layer(self):
        return BoxCascade(BoxHead(3, convs=1, filters=4, fcs=1, fc_units=8, norm=default_norm()))


class ClassAwareBoxCascadeTest(BoxCascadeCase, VariantSuite, tf.test.TestCase):
    """Four stages, one more than Model Garden has, and every option set."""

    boxes = 3

    def layer(self):
        head = BoxHead(3, convs=0, fcs=1, fc_units=8, class_agnostic=False)
        parts = {"roi_align": RoIAlign(2, 2, aligned=False), "nms": NMS(soft_sigma=0.5, class_agnostic=True)}
        options = {"score_ensemble": "logits", "loss_reduction": "sum", "class_loss": SigmoidCrossEntropy()}
        return BoxCascade(head, (0.5, 0.6, 0.7, 0.8), CODERS, **parts, **options)


class DetectTest(tf.test.TestCase):
    def detect(self, layer, valid=(True, True), image_size=SIZE):
        found = layer.detect(pyramid(), PROPOSALS, tf.constant([valid]), image_size)
        return {name: value.numpy()[0] for name, value in found.items()}

    def test_heads_that_change_nothing_give_back_the_proposals(self):
        found = self.detect(cascade(logits=[0.0, 0.0, 3.0], nms=NMS(detections=4, score_threshold=0.1)))
        score = math.exp(3) / (math.exp(3) + 2)
        self.assertEqual(found["count"], 2)
        self.assertCountEqual([tuple(box) for box in found["boxes"][:2]], [tuple(b) for b in PROPOSALS[0].numpy()])
        self.assertAllEqual(found["boxes"][2:], np.zeros([2, 4]))
        self.assertAllClose(found["scores"], [score, score, 0, 0])
        self.assertAllEqual(found["classes"], [2, 2, 0, 0])

    def test_padding_among_the_proposals_is_not_found(self):
        found = self.detect(cascade(logits=[0, 0, 3]), valid=(False, True))
        self.assertEqual(found["count"], 1)
        self.assertAllClose(found["boxes"][0], PROPOSALS[0, 1])

    def test_every_stage_moves_the_boxes_by_its_own_coder(self):
        for stages in (1, 2, 3, 4):
            shift = sum(2 / weights[1] for weights in CODERS[:stages])
            layer = cascade(stages=stages, deltas=[0.0, 2.0, 0.0, 0.0])
            _, boxes = layer((pyramid(), PROPOSALS[:, :1], SIZE))
            self.assertAllClose(boxes[0, 0, 0], [10, 10 + 40 * shift, 30, 50 + 40 * shift])

    def test_boxes_end_at_the_image_s_border(self):
        _, boxes = cascade(deltas=[5.0, 0.0, 0.0, 0.0])((pyramid(), PROPOSALS, tf.constant([[60.0, 80.0]])))
        self.assertAllClose(boxes[0, :, 0], [[20, 10, 40, 50], [60, 50, 60, 80]])

    def test_scores_are_a_mean_over_the_stages_or_those_of_the_last(self):
        def sigmoid(x):
            return 1 / (1 + math.exp(-x))

        for stages in (1, 2, 4):
            logits = [0.0, 2.0, -1.0, 5.0][:stages]
            for ensemble, expected in (
                ("probabilities", np.mean([sigmoid(logit) for logit in logits])),
                ("logits", sigmoid(np.mean(logits))),
                (None, sigmoid(logits[-1])),
            ):
                layer = cascade(classes=1, stages=stages, score_ensemble=ensemble)
                for stage, logit in zip(layer.heads, logits, strict=True):
                    stage.classes.bias.assign([0.0, logit])
                probabilities, _ = layer((pyramid(), PROPOSALS, SIZE))
                self.assertAllClose(probabilities[0], [[expected]] * 2, msg=(stages, ensemble))

    def test_suppression_across_classes_and_soft_suppression(self):
        deltas = [[9.0] * 4, [0.0] * 4, [0.0, 2.0, 0.0, 0.0]]  # the second class's box overlaps the first's by 2/3
        scores = np.exp([1.0, 1.5]) / np.sum(np.exp([0.0, 1.0, 1.5]))
        for options, expected in (
            ({}, [scores[1], scores[0]]),
            ({"class_agnostic": True}, [scores[1]]),
            (
                {"class_agnostic": True, "soft_sigma": 0.5},
                [scores[1], scores[0] * math.exp(-((2 / 3) ** 2) / 0.5)],
            ),
        ):
            layer = cascade(class_agnostic=False, logits=[0.0, 1.0, 1.5], deltas=deltas, nms=NMS(**options))
            found = self.detect(layer, valid=(True, False))
            self.assertAllClose(found["scores"][: found["count"]], expected, msg=options)

    def test_features_are_read_aligned_or_as_model_garden_reads_them(self):
        """The only feature is the x of a cell's centre in pixels, the only hidden unit its mean over the RoI."""
        maps = {3: tf.tile(8.0 * tf.range(16.0)[tf.newaxis, tf.newaxis, :, tf.newaxis] + 4.0, [1, 16, 1, 1])}
        for aligned, middle in ((True, 30.0), (False, 30.0 + 4.0)):
            head = BoxHead(1, convs=0, fcs=1, fc_units=1, activation="linear")
            layer = BoxCascade(head, (0.5,), CODERS[:1], roi_align=RoIAlign(aligned=aligned))
            layer((maps, PROPOSALS, SIZE))
            hidden, stage = layer.heads[0].fc_blocks[0].dense, layer.heads[0]
            hidden.kernel.assign(tf.fill(hidden.kernel.shape, 1 / 49))
            stage.classes.kernel.assign([[0.0, 0.1]])
            probabilities, _ = layer((maps, PROPOSALS, SIZE))
            self.assertAllClose(probabilities[0, 0, 0], 1 / (1 + math.exp(-0.1 * middle)))

    def test_no_proposals_no_detections(self):
        for proposals, valid in ((PROPOSALS[:, :0], tf.zeros([1, 0], tf.bool)), (0.0 * PROPOSALS, [[False, False]])):
            for stages in (1, 3):
                found = cascade(stages=stages, logits=[0.0, 0.0, 5.0]).detect(pyramid(), proposals, valid, SIZE)
                self.assertAllEqual(found["count"], [0])
                self.assertAllEqual(found["boxes"], np.zeros([1, 100, 4]))

    def test_a_class_aware_head_has_a_box_for_each_class(self):
        deltas = [[9.0] * 4, [0.0] * 4, [0.0, 2.0, 0.0, 0.0]]  # the background's is of no use
        layer = cascade(class_agnostic=False, logits=[0.0, 1.0, 1.5], deltas=deltas, nms=NMS(iou=0.9))
        found = self.detect(layer, valid=(True, False))
        moved = [10, 10 + 40 * 0.2, 30, 50 + 40 * 0.2]
        self.assertAllEqual(found["classes"][:2], [2, 1])
        self.assertAllClose(found["boxes"][:2], [moved, PROPOSALS[0, 0]])

    def test_the_likeliest_class_s_box_goes_to_the_next_stage(self):
        deltas = [[9.0] * 4, [0.0] * 4, [0.0, 2.0, 0.0, 0.0]]
        layer = cascade(stages=2, class_agnostic=False, logits=[5.0, 1.0, 1.5], deltas=deltas)
        _, boxes = layer((pyramid(), PROPOSALS[:, :1], SIZE))
        self.assertAllClose(boxes[0, 0, 0], [10, 10 + 8, 30, 50 + 8])
        self.assertAllClose(boxes[0, 0, 1], [10, 10 + 8 + 4, 30, 50 + 8 + 4])

    def test_stages_have_weights_of_their_own_and_the_pattern_has_none(self):
        layer = cascade(stages=3)
        self.assertLen(layer.weights, 3 * 6)
        self.assertEmpty(layer.head.weights)


class LossTest(tf.test.TestCase):
    def losses(self, layer, boxes, classes, proposals=PROPOSALS, seed=(1, 2)):
        valid = tf.ones(proposals.shape[:2], tf.bool)
        parts = layer.loss_parts(pyramid(), proposals, valid, targets(boxes, classes), tf.constant(seed))
        self.assertEqual(set(parts), {"class_loss", "box_loss"})
        return float(parts["class_loss"]), float(parts["box_loss"])

    def test_no_opinion_costs_the_logarithm_of_classes_with_background(self):
        for stages in (1, 3):
            loss, _ = self.losses(cascade(stages=stages), [[10, 10, 30, 50]], [1])
            self.assertAlmostEqual(loss, math.log(3), places=5)

    def test_without_boxes_every_roi_is_background(self):
        for class_agnostic in (True, False):
            layer = cascade(stages=3, class_agnostic=class_agnostic, logits=[30.0, 0.0, 0.0])
            self.assertAllClose(self.losses(layer, [[0.0] * 4], [0]), [0.0, 0.0], atol=1e-6)

    def test_ground_truth_is_among_the_rois(self):
        """No proposal is near the box, which has class 2: one positive of three RoIs, and it needs no move."""
        layer = cascade(logits=[0.0, 0.0, 0.0])
        layer.heads[0].classes.bias.assign([30.0, 0.0, 0.0])
        class_loss, box_loss = self.losses(layer, [[70.0, 10, 90, 30]], [2])
        self.assertAllClose([class_loss, box_loss], [30.0 / 3, 0.0], rtol=1e-5)

    def test_box_loss_is_that_of_positive_rois_in_the_coder_s_units(self):
        """A RoI two pixels off in y of 20: the target is 10 · 2 / 20 = 1, Huber's ½, over four coordinates."""
        proposals = PROPOSALS[:, :1]
        _, loss = self.losses(cascade(sampler=BalancedSampler(512, 1.0)), [[12.0, 10, 32, 50]], [1], proposals)
        self.assertAllClose(loss, (0.5 / 4 + 0.0) / 2)  # the other positive is the ground truth itself

    def test_class_aware_boxes_learn_from_their_own_class(self):
        deltas = [[9.0] * 4, [9.0] * 4, [1.0, 0.0, 0.0, 0.0]]
        layer = cascade(class_agnostic=False, deltas=deltas, sampler=BalancedSampler(512, 1.0))
        _, loss = self.losses(layer, [[12.0, 10, 32, 50]], [2], PROPOSALS[:, :1])
        self.assertAllClose(loss, (0.0 + 0.5 / 4) / 2)  # right for the proposal, one unit off for the ground truth

    def test_later_stages_match_the_refined_boxes_at_their_own_iou(self):
        """Stage 1 leaves the proposal and the ground truth where they are, one pair overlaps by 0.54, and then moves
        both onto the box and off it; stage 2 says 'object' of all, wrong for one of two RoIs if it asks for 0.6."""
        proposals, box = tf.constant([[[10.0, 10, 30, 50]]]), [16.0, 10, 36, 50]
        for move in (0.0, 6.0):
            for iou, wrong in ((0.5, 0), (0.6, 1)):
                layer = cascade(classes=1, stages=2, ious=(0.5, iou))
                layer.heads[0].deltas.bias.assign([10 * move / 20, 0.0, 0.0, 0.0])
                layer.heads[1].classes.bias.assign([0.0, 30.0])
                class_loss, _ = self.losses(layer, [box], [1], proposals)
                self.assertAllClose(class_loss, (math.log(2) + 30.0 * wrong / 2) / 2, rtol=1e-4)

    def test_few_rois_are_drawn_by_the_seed(self):
        rois = tf.random.stateless_uniform([1, 50, 2], [1, 2], maxval=50.0)
        proposals = tf.concat([rois, rois + 40.0], -1)
        layer = cascade(sampler=BalancedSampler(4, 0.25))
        layer.heads[0].classes.kernel.assign(tf.random.stateless_normal([4, 3], [1, 1]))
        draws = [self.losses(layer, [[10, 10, 50, 50]], [1], proposals, seed)[0] for seed in ((1, 2), (1, 2), (1, 3))]
        self.assertEqual(draws[0], draws[1])
        self.assertNotEqual(draws[0], draws[2])

    def test_stages_are_averaged_or_summed(self):
        """Every stage moves its box down by two units of its coder; the right box is that of the first RoI."""
        class_loss, box_losses, off = math.log(3), [], 0.0
        for y_weight, *_ in CODERS:
            box_losses.append((2 + off * y_weight - 0.5) / 4)
            off += 2 / y_weight
        for stages in (1, 2, 4):
            for reduction, reduce in (("mean", np.mean), ("sum", np.sum)):
                options = {"ious": (0.1,) * 4, "loss_reduction": reduction}
                layer = cascade(stages=stages, deltas=[2.0, 0.0, 0.0, 0.0], **options)
                expected = [reduce([class_loss] * stages), reduce(box_losses[:stages])]
                self.assertAllClose(self.losses(layer, [[10, 10, 30, 50]], [1]), expected, rtol=1e-5)

    def test_nothing_to_learn_from(self):
        """No ground truth, no proposals, or padding alone: losses and gradients stay finite, and 0 of no RoI."""
        layer = cascade(stages=3)
        none, empty = tf.zeros([1, 0], tf.bool), tf.zeros([1, 0, 4])
        for boxes, classes, proposals, valid, class_loss in (
            ([[0.0] * 4], [0], PROPOSALS, [[True, True]], math.log(3)),
            ([], [], PROPOSALS, [[True, False]], math.log(3)),
            ([[10.0, 10, 30, 50]], [1], empty, none, math.log(3)),
            ([[0.0] * 4], [0], empty, none, 0.0),
            ([[0.0] * 4], [0], 0.0 * PROPOSALS, [[False, False]], 0.0),
            ([], [], empty, none, 0.0),
        ):
            with tf.GradientTape() as tape:
                parts = layer.loss_parts(
                    pyramid(), proposals, tf.constant(valid), targets(boxes, classes), tf.constant([1, 2])
                )
                loss = tf.add_n(list(parts.values()))
            self.assertAllClose([parts["class_loss"], parts["box_loss"]], [class_loss, 0.0])
            for gradient in tape.gradient(loss, layer.trainable_weights):
                self.assertAllInSet(np.isfinite(gradient), [True])

    def test_rois_that_collapse_leave_later_stages_and_losses_and_gradients_stay_finite(self):
        layer = cascade(stages=3, deltas=[0.0, 0.0, -400.0, -400.0])
        with tf.GradientTape() as tape:
            parts = layer.loss_parts(
                pyramid(), PROPOSALS, tf.ones([1, 2], tf.bool), targets([[10, 10, 30, 50]], [1]), tf.constant([1, 2])
            )
            loss = tf.add_n(list(parts.values()))
        self.assertAllClose(parts["class_loss"], (math.log(3) + 0.0 + 0.0) / 3)
        for value in (loss, *tape.gradient(loss, layer.trainable_weights)):
            self.assertAllInSet(np.isfinite(value), [True])


class RoIsTest(tf.test.TestCase):
    """What a mask branch learns from."""

    def rois(self, layer, boxes, classes, valid=(True, True)):
        given = pyramid(), PROPOSALS, tf.constant([valid]), targets(boxes, classes), tf.constant([1, 2])
        parts, rois = layer.losses_and_rois(*given)
        for name, value in layer.loss_parts(*given).items():
            self.assertAllEqual(value, parts[name])
        return [value.numpy()[0] for value in rois]

    def test_proposals_and_ground_truth_with_its_row_and_class(self):
        layer = cascade(sampler=BalancedSampler(512, 1.0))
        boxes, valid, classes, index = self.rois(layer, [[0] * 4, [48, 50, 88, 90], [8, 10, 28, 50]], [0, 2, 1])
        found = {tuple(b): (bool(v), int(c), int(i)) for b, v, c, i in zip(boxes, valid, classes, index, strict=True)}
        self.assertEqual(found[10, 10, 30, 50], (True, 1, 2))
        self.assertEqual(found[50, 50, 90, 90], (True, 2, 1))
        self.assertEqual(found[48, 50, 88, 90], (True, 2, 1))
        self.assertEqual(found[8, 10, 28, 50], (True, 1, 2))
        self.assertEqual(found[0, 0, 0, 0][:2], (False, 0))

    def test_they_are_the_last_stage_s_at_its_own_iou(self):
        """The first stage moves proposals and ground truth by 3 of 20 pixels: off the box where 0.75 is asked."""
        for iou, classes_found in ((0.7, {1}), (0.75, {0})):
            layer = cascade(classes=1, stages=2, ious=(0.5, iou))
            layer.heads[0].deltas.bias.assign([10 * 3 / 20, 0.0, 0.0, 0.0])
            boxes, valid, classes, _ = self.rois(layer, [[10, 10, 30, 50]], [1], valid=(True, False))
            self.assertAllClose(boxes[valid], [[13, 10, 33, 50]] * 2)
            self.assertEqual(set(classes[valid]), classes_found)

    def test_no_gradient_flows_into_their_boxes(self):
        layer = cascade(stages=2)
        with tf.GradientTape() as tape:
            _, rois = layer.losses_and_rois(
                pyramid(), PROPOSALS, tf.constant([[True, True]]), targets([[10, 10, 30, 50]], [1]), tf.constant([1, 2])
            )
        gradients = tape.gradient(rois.boxes, layer.trainable_weights)
        self.assertEqual([gradient is None for gradient in gradients], [True] * 12)


class ArgumentsTest(tf.test.TestCase):
    def test_a_stage_needs_an_iou_and_a_coder(self):
        head = BoxHead(1)
        for ious, coders in (((0.5, 0.6), CODERS), ((), ())):
            with self.assertRaisesRegex(ConfigError, rf"{len(ious)} ious .* {len(coders)} coder_weights .*every stage"):
                BoxCascade(head, ious, coders)

    def test_what_makes_no_sense_is_refused_with_its_value(self):
        for arguments, message in (
            ({"ious": (0.5, 50, 0.7)}, r"ious is \(0.5, 50, 0.7\); .* numbers above 0 and up to 1"),
            ({"ious": (0.5, 0.0, 0.7)}, "ious is .*above 0"),
            ({"coder_weights": ((10, 10), *CODERS[:2])}, r"is \(\(10, 10\), .* sequences of 4 finite numbers above 0"),
            (
                {"coder_weights": ((10, 10, 5, 0), *CODERS[:2])},
                r"\(10, 10, 5, 0\), .* 4 finite numbers above 0",
            ),
            ({"score_ensemble": "mean"}, "score_ensemble is 'mean'; it must be one of 'probabilities', 'logits', None"),
            ({"loss_reduction": "average"}, "loss_reduction is 'average'; it must be one of 'mean', 'sum'"),
            ({"roi_align": 7}, "BoxCascade.roi_align is 7; it must be an instance of RoIAlign"),
            ({"nms": 0.5}, "BoxCascade.nms is 0.5; it must be an instance of NMS or None"),
            ({"sampler": 512}, "BoxCascade.sampler is 512; it must be an instance of BalancedSampler or None"),
        ):
            with self.assertRaisesRegex(ConfigError, message):
                BoxCascade(BoxHead(1), **arguments)


if __name__ == "__main__":
    tf.test.main()
