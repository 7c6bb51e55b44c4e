import math

import numpy as np
import tensorflow as tf

from tests.layer_suite import LayerSuite, VariantSuite
from tf_frozen.errors import ConfigError
from tf_frozen.heads.anchors import Anchors
from tf_frozen.heads.balanced_sampler import BalancedSampler
from tf_frozen.heads.proposal_nms import ProposalNMS
from tf_frozen.heads.region_proposal import RegionProposal
from tf_frozen.keras_flavor import keras
from tf_frozen.layers.norm import default_norm
from tf_frozen.losses.huber import Huber
from tf_frozen.losses.sigmoid_cross_entropy import SigmoidCrossEntropy

FRAME = (32, 32)
# The anchor of the cell whose centre is at (12, 12), with 16-pixel anchors 8 pixels apart, and its place among 4 × 4.
BOX, PLACE = [4.0, 4.0, 20.0, 20.0], 5


def small(**options):
    """One square anchor of twice the stride a place."""
    settings = {"anchors": Anchors(2.0, 1, (1.0,)), "nms": ProposalNMS(0.7, (16, 12), (6, 4))}
    return RegionProposal(4, **settings, **options)


def outputs(logit_at_place=5.0, deltas=(0.0, 0.0, 0.0, 0.0), others=-5.0):
    """Level 3 of the frame, with another logit and other deltas for the anchor at PLACE."""
    logits, all_deltas = np.full([1, 16], others, np.float32), np.zeros([1, 16, 4], np.float32)
    logits[0, PLACE], all_deltas[0, PLACE] = logit_at_place, deltas
    return {3: (tf.constant(logits), tf.constant(all_deltas))}


def targets(*boxes):
    padding = [[0.0] * 4] * 2
    return {"boxes": tf.constant([[*boxes, *padding]]), "classes": tf.constant([[1] * len(boxes) + [0, 0]])}


class RegionProposalCase:
    def inputs(self, batch, size):
        return {
            level: tf.random.stateless_normal([batch, *(-(-side // 2**level) for side in size), 6], [level, 2])
            for level in (3, 4)
        }

    def shapes(self, batch, size):
        counts = {level: math.prod(-(-side // 2**level) for side in size) * 6 for level in (3, 4)}
        return {level: ((batch, count), (batch, count, 4)) for level, count in counts.items()}


class RegionProposalSuiteTest(RegionProposalCase, LayerSuite, tf.test.TestCase):
    def layer(self):
        return RegionProposal(5, convs=2, anchors=Anchors(8.0, 2), norm=default_norm())


class SeparableRegionProposalTest(RegionProposalCase, VariantSuite, tf.test.TestCase):
    def layer(self):
        return RegionProposal(5, anchors=Anchors(8.0, 2), separable=True, activation="relu")


class LayerTest(tf.test.TestCase):
    def test_the_paper_s_settings_have_the_paper_s_parameters(self):
        # A second convolution adds 0.59 million and accounts for the paper's 21.9 million with FPN (21.3 with one).
        for convs, millions in ((1, 0.596), (2, 0.596 + 9 * 256**2 / 1e6)):
            head = RegionProposal(convs=convs, norm=default_norm())
            head({level: tf.zeros([1, 2, 2, 256]) for level in range(3, 8)})
            parameters = sum(weight.shape.num_elements() for weight in head.trainable_weights)
            self.assertAlmostEqual(parameters / 1e6, millions, delta=0.003)

    def test_every_level_has_the_same_convolutions(self):
        features = tf.random.stateless_normal([1, 4, 4, 3], [1, 2])
        scores, deltas = zip(*small()({3: features, 4: features}).values(), strict=True)
        self.assertAllEqual(*scores)
        self.assertAllEqual(*deltas)

    def test_every_level_has_moving_statistics_of_its_own(self):
        """Levels differ in scale; after training each is normalized in inference as it was in training."""
        head = RegionProposal(4, norm=keras.layers.BatchNormalization(momentum=0.0))
        noise = tf.random.stateless_normal([8, 8, 8, 3], [1, 2])
        pyramid = {3: noise, 4: 5.0 + 20.0 * noise, 5: 0.1 * noise}
        trained = head(pyramid, training=True)
        for level, (scores, _) in head(pyramid, training=False).items():
            self.assertAllClose(scores, trained[level][0], rtol=0, atol=0.05 * np.abs(trained[level][0]).max())

    def test_an_untrained_one_finds_everything_about_as_likely(self):
        scores, deltas = small()({3: tf.random.stateless_normal([2, 8, 8, 6], [1, 2])})[3]
        self.assertAllInRange(tf.sigmoid(scores), 0.4, 0.6)
        self.assertAllInRange(deltas, -0.4, 0.4)


class ProposeTest(tf.test.TestCase):
    def propose(self, raw, image_size=FRAME, training=False, head=None):
        size = tf.constant([image_size], tf.float32)
        boxes, valid = (head or small()).propose(raw, FRAME, size, training)
        return boxes.numpy()[0], valid.numpy()[0]

    def test_the_likeliest_anchor_comes_first(self):
        boxes, valid = self.propose(outputs())
        self.assertAllClose(boxes[0], BOX)
        self.assertAllEqual(valid, [True] * 4)

    def test_deltas_move_it_and_the_image_s_border_cuts_it(self):
        boxes, _ = self.propose(outputs(deltas=(0.5, 0.0, 0.0, math.log(0.5))))
        self.assertAllClose(boxes[0], [12.0, 8.0, 28.0, 16.0])
        boxes, _ = self.propose(outputs(deltas=(0.5, 0.0, 0.0, math.log(0.5))), image_size=(18, 10))
        self.assertAllClose(boxes[0], [12.0, 8.0, 18.0, 10.0])

    def test_what_lies_outside_the_image_is_no_proposal(self):
        boxes, valid = self.propose(outputs(), image_size=(3, 3))
        # The anchor at (4, 4) alone overlaps these nine pixels.
        self.assertAllEqual(valid, [True, False, False, False])
        self.assertAllClose(boxes, [[0, 0, 3, 3], [0] * 4, [0] * 4, [0] * 4])

    def test_as_many_as_asked_for_in_training_and_in_inference(self):
        self.assertLen(self.propose(outputs(), training=True)[0], 6)
        self.assertLen(self.propose(outputs(), training=False)[0], 4)

    def test_only_the_best_of_a_level_are_candidates(self):
        head = RegionProposal(4, 1, Anchors(2.0, 1, (1.0,)), nms=ProposalNMS(1.0, (2, 3), (8, 8)))
        for training, count in ((True, 2), (False, 3)):
            self.assertEqual(self.propose(outputs(), training=training, head=head)[1].sum(), count)

    def test_a_box_suppresses_its_like_on_its_own_level_only(self):
        logits, deltas = np.full([1, 16], -5.0, np.float32), np.zeros([1, 16, 4], np.float32)
        logits[0, :2] = 5.0, 4.0
        deltas[0, 1] = [0.0, -0.5, 0.0, 0.0]  # lands on the first anchor
        coarse, half = np.full([1, 4], -5.0, np.float32), np.zeros([1, 4, 4], np.float32)
        coarse[0, 0], half[0, 0] = 3.0, [-0.125, -0.125, math.log(0.5), math.log(0.5)]  # so does this, 16 of 32 px
        head = RegionProposal(4, 1, Anchors(2.0, 1, (1.0,)), nms=ProposalNMS(candidates=(3, 3), proposals=(8, 8)))
        raw = {3: (tf.constant(logits), tf.constant(deltas)), 4: (tf.constant(coarse), tf.constant(half))}
        boxes, valid = self.propose(raw, head=head)
        first = [0.0, 0.0, 12.0, 12.0]
        self.assertEqual([bool(np.allclose(box, first)) for box in boxes[valid]], [True, True] + [False] * 3)

    def test_no_gradient_flows_through_proposals(self):
        deltas = tf.Variable(tf.zeros([1, 16, 4]))
        with tf.GradientTape() as tape:
            boxes, _ = small().propose({3: (tf.zeros([1, 16]), deltas)}, FRAME, tf.constant([FRAME], tf.float32), True)
        self.assertIsNone(tape.gradient(boxes, deltas))


class LossTest(tf.test.TestCase):
    def losses(self, raw, boxes, seed=(1, 2), head=None):
        parts = (head or small()).loss_parts(raw, FRAME, targets(*boxes), tf.constant(seed))
        self.assertEqual(set(parts), {"rpn_score_loss", "rpn_box_loss"})
        return float(parts["rpn_score_loss"]), float(parts["rpn_box_loss"])

    def test_nothing_to_learn(self):
        score, box = self.losses(outputs(20.0, others=-20.0), [BOX])
        self.assertAllClose([score, box], [0.0, 0.0], atol=1e-6)

    def test_no_opinion_costs_log_2(self):
        self.assertAlmostEqual(self.losses(outputs(0.0, others=0.0), [BOX])[0], math.log(2), places=5)

    def test_huber_loss_of_a_wrong_delta_is_the_mean_of_four_coordinates(self):
        delta = 1 / 9
        self.assertAllClose(self.losses(outputs(deltas=(1, 0, 0, 0)), [BOX])[1], delta * (1 - delta / 2) / 4)
        self.assertAllClose(self.losses(outputs(deltas=(0, 0, 0.1, 0)), [BOX])[1], 0.5 * 0.1**2 / 4)

    def test_its_weight_counts_for_the_box_loss_alone(self):
        raw = outputs(0.0, (0, 0, 0.1, 0), others=0.0)
        heavy = small(box_loss=Huber(1 / 9, weight=10.0))
        self.assertAllClose(self.losses(raw, [BOX], head=heavy), [math.log(2), 10 * 0.5 * 0.1**2 / 4])
        light = small(class_loss=SigmoidCrossEntropy(weight=0.5))
        self.assertAllClose(self.losses(raw, [BOX], head=light), [0.5 * math.log(2), 0.5 * 0.1**2 / 4])

    def test_box_loss_of_each_level_by_itself_counts_all_positives(self):
        """Of three anchors on boxes two are off by 0.1 and share level 3, one by 0.2 on level 4; one may be sampled."""
        boxes = [BOX, [12.0, 12.0, 28.0, 28.0], [-8.0, 8.0, 24.0, 40.0]]
        fine, coarse = np.zeros([1, 16, 4], np.float32), np.zeros([1, 4, 4], np.float32)
        fine[..., 2], coarse[..., 3] = 0.1, 0.2
        raw = {3: (tf.zeros([1, 16]), tf.constant(fine)), 4: (tf.zeros([1, 4]), tf.constant(coarse))}
        head = small(sampler=BalancedSampler(2), box_loss=Huber(1.0, weight=3.0), box_loss_per_level=True)
        means = 0.5 * 0.1**2 / 4, 0.5 * 0.2**2 / 4
        self.assertAllClose(self.losses(raw, boxes, head=head)[1], 3 * sum(means), rtol=0.003)
        self.assertAllClose(self.losses(raw, [], head=head), [math.log(2), 0.0])

    def test_a_box_that_no_anchor_fits_claims_its_best(self):
        box = [10.0, 10.0, 13.0, 13.0]
        wanted = [-0.5 / 16, -0.5 / 16, math.log(3 / 16), math.log(3 / 16)]
        score, loss = self.losses(outputs(20.0, wanted, others=-20.0), [box])
        self.assertAllClose([score, loss], [0.0, 0.0], atol=1e-6)

    def test_anchors_between_the_thresholds_do_not_count(self):
        raw = outputs(20.0, others=-20.0)
        logits = raw[3][0].numpy()
        for neighbour in (PLACE - 1, PLACE + 1, PLACE - 4, PLACE + 4):  # they overlap the box by a third
            logits[0, neighbour] = 30.0
        self.assertAllClose(self.losses({3: (tf.constant(logits), raw[3][1])}, [BOX])[0], 0.0, atol=1e-6)

    def test_without_boxes_all_anchors_are_negative_and_losses_finite(self):
        self.assertAllClose(self.losses(outputs(-20.0, others=-20.0), []), [0.0, 0.0], atol=1e-6)
        self.assertAllClose(self.losses(outputs(0.0, others=0.0), []), [math.log(2), 0.0])
        nothing = {"boxes": tf.zeros([1, 0, 4]), "classes": tf.zeros([1, 0], tf.int32)}
        parts = small().loss_parts(outputs(0.0, others=0.0), FRAME, nothing, tf.constant([1, 2]))
        self.assertAllClose(list(parts.values()), [math.log(2), 0.0])

    def test_half_of_a_small_sample_is_positive(self):
        """Eight samples, of them four on boxes: positives cost 1 each, so the mean is a half."""
        cost_1 = math.log(math.e - 1)  # softplus(x) = 1
        boxes = [[8.0 * y, 8.0 * x, 8.0 * y + 8, 8.0 * x + 8] for y in range(2) for x in range(4)]
        raw = {3: (tf.constant([[-cost_1] * 8 + [-30.0] * 8]), tf.zeros([1, 16, 4]))}
        head = RegionProposal(4, 1, Anchors(1.0, 1, (1.0,)), sampler=BalancedSampler(8))
        self.assertAlmostEqual(self.losses(raw, boxes, head=head)[0], 0.5, places=5)

    def test_the_sample_is_a_function_of_the_seed(self):
        raw = {3: (tf.random.stateless_normal([1, 16], [1, 2]), tf.zeros([1, 16, 4]))}
        head = RegionProposal(4, 1, Anchors(2.0, 1, (1.0,)), sampler=BalancedSampler(4))
        draws = [self.losses(raw, [BOX], (1, seed), head)[0] for seed in (2, 2, 3, 4, 5, 6)]
        self.assertEqual(draws[0], draws[1])
        self.assertGreater(len(set(draws)), 2)


class ArgumentsTest(tf.test.TestCase):
    def test_what_makes_no_sense_is_refused_with_its_value(self):
        for arguments, message in (
            ({"nms": 0.7}, "RegionProposal.nms is 0.7; it must be an instance of ProposalNMS or None"),
            ({"anchors": 8.0}, "RegionProposal.anchors is 8.0; it must be an instance of Anchors or None"),
        ):
            with self.assertRaisesRegex(ConfigError, message):
                RegionProposal(**arguments)


if __name__ == "__main__":
    tf.test.main()
