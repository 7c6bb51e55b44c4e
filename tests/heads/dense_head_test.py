import math

import numpy as np
import tensorflow as tf
from official.vision.configs import retinanet as configs
from official.vision.modeling.heads.dense_prediction_heads import RetinaNetHead
from official.vision.modeling.layers.detection_generator import MultilevelDetectionGenerator
from official.vision.ops import anchor
from official.vision.tasks.retinanet import RetinaNetTask

from tests.layer_suite import LayerSuite, VariantSuite
from tf_frozen.heads.anchors import Anchors
from tf_frozen.heads.dense_head import DenseHead
from tf_frozen.heads.matcher import Matcher
from tf_frozen.heads.nms import NMS
from tf_frozen.keras_flavor import keras
from tf_frozen.layers.norm import default_norm
from tf_frozen.losses.huber import Huber

FRAME = (32, 32)
# The anchor of the cell whose centre is at (12, 12), with 16-pixel anchors 8 pixels apart, and its place among 4 × 4.
BOX, PLACE = [4.0, 4.0, 20.0, 20.0], 5
CLASSES, LEVELS = 3, (3, 4, 5)


def small(**options):
    """Two classes, one square anchor of twice the stride a place."""
    return DenseHead(2, 4, 1, Anchors(2.0, 1, (1.0,)), **options)


def outputs(logits=(5.0, -9.0), deltas=(0.0, 0.0, 0.0, 0.0), others=-9.0):
    """Level 3 of the frame, with other logits and deltas for the anchor at PLACE."""
    all_logits, all_deltas = np.full([1, 16, 2], others, np.float32), np.zeros([1, 16, 4], np.float32)
    all_logits[0, PLACE], all_deltas[0, PLACE] = logits, deltas
    return {3: (tf.constant(all_logits), tf.constant(all_deltas))}


def targets(*boxes, classes=(1,)):
    padding = [[0.0] * 4] * 2
    return {
        "boxes": tf.constant([[*boxes, *padding]]),
        "classes": tf.constant([[*classes[: len(boxes)], 0, 0]], tf.int32),
    }


def pyramid(batch, size, channels, levels):
    return {
        level: tf.random.stateless_normal([batch, *(-(-side // 2**level) for side in size), channels], [level, 2])
        for level in levels
    }


class DenseHeadCase:
    def inputs(self, batch, size):
        return pyramid(batch, size, 6, (3, 4))

    def shapes(self, batch, size):
        counts = {level: math.prod(-(-side // 2**level) for side in size) * 6 for level in (3, 4)}
        return {level: ((batch, count, CLASSES), (batch, count, 4)) for level, count in counts.items()}


class DenseHeadSuiteTest(DenseHeadCase, LayerSuite, tf.test.TestCase):
    def layer(self):
        return DenseHead(CLASSES, 5, convs=2, anchors=Anchors(octaves=2), norm=default_norm())


class SeparableDenseHeadTest(DenseHeadCase, VariantSuite, tf.test.TestCase):
    def layer(self):
        return DenseHead(CLASSES, 5, convs=1, anchors=Anchors(octaves=2), separable=True, activation="relu")


class LayerTest(tf.test.TestCase):
    def test_the_paper_s_settings_have_the_paper_s_parameters(self):
        head = DenseHead(91, norm=default_norm())
        head({level: tf.zeros([1, 2, 2, 256]) for level in range(3, 8)})
        parameters = sum(weight.shape.num_elements() for weight in head.trainable_weights)
        self.assertAlmostEqual(parameters, 6.712e6, delta=0.0005e6)

    def test_every_level_has_the_same_convolutions(self):
        features = tf.random.stateless_normal([1, 4, 4, 3], [1, 2])
        logits, deltas = zip(*small()({3: features, 4: features}).values(), strict=True)
        self.assertAllEqual(*logits)
        self.assertAllEqual(*deltas)

    def test_every_level_has_moving_statistics_of_its_own(self):
        """Levels differ in scale; after training each is normalized in inference as it was in training."""
        head = small(norm=keras.layers.BatchNormalization(momentum=0.0))
        noise = tf.random.stateless_normal([8, 8, 8, 3], [1, 2])
        levels = {3: noise, 4: 5.0 + 20.0 * noise, 5: 0.1 * noise}
        trained = head(levels, training=True)
        for level, (logits, _) in head(levels, training=False).items():
            self.assertAllClose(logits, trained[level][0], rtol=0, atol=0.02)

    def test_an_untrained_one_takes_everything_for_background(self):
        for separable in (False, True):
            head = DenseHead(2, 16, separable=separable, norm=default_norm(), prior=0.02)
            logits, deltas = head(pyramid(2, (64, 64), 6, (3,)), training=True)[3]
            self.assertAllInRange(tf.sigmoid(logits), 0.01, 0.04)
            self.assertAllInRange(deltas, -0.4, 0.4)


class ModelGardenTest(tf.test.TestCase):
    """Parity with RetinaNetHead, AnchorLabeler, RetinaNetTask and MultilevelDetectionGenerator."""

    SIZE, BATCH = (64, 96), 3

    def heads(self, separable):
        """Both heads with the same weights: theirs as a model, so that it hears of `training`."""
        keras.utils.set_random_seed(1)
        norm = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-3)
        ours = DenseHead(CLASSES, 8, 2, norm=norm, separable=separable)
        theirs = RetinaNetHead(
            LEVELS[0], LEVELS[-1], CLASSES, 9, 2, 8, None, False, separable, "swish", False, 0.9, 1e-3
        )
        maps = pyramid(self.BATCH, self.SIZE, 6, LEVELS)
        inputs = {str(level): keras.Input(x.shape[1:]) for level, x in maps.items()}
        model = keras.Model(inputs, theirs(inputs)[:2])
        ours(maps)
        for weight in ours.weights:
            weight.assign(tf.random.stateless_uniform(weight.shape, [7, len(weight.name)], 0.1, 0.5))
        for source, copy in self.pairs(ours, theirs):
            copy.set_weights(source.get_weights())
        return ours, theirs, model, maps

    def pairs(self, ours, theirs):
        yield ours.classes, theirs._classifier
        yield ours.deltas, theirs._box_regressor
        for tower, convs, norms in (
            (ours.class_tower, theirs._cls_convs, theirs._cls_norms),
            (ours.box_tower, theirs._box_convs, theirs._box_norms),
        ):
            yield from zip(tower.hidden, convs, strict=True)
            for level, level_norms in zip(LEVELS, norms, strict=True):
                for index, norm in enumerate(level_norms):
                    yield tower.norms[f"{level}_{index}"], norm

    def test_the_same_logits_deltas_and_moving_statistics(self):
        for separable in (False, True):
            ours, theirs, model, maps = self.heads(separable)
            self.assertLen(ours.weights, len(model.weights))
            for training in (False, True):
                logits, deltas = model({str(level): x for level, x in maps.items()}, training=training)
                for level, found in ours(maps, training=training).items():
                    for mine, other in zip(found, (logits[str(level)], deltas[str(level)]), strict=True):
                        self.assertAllClose(mine, tf.reshape(other, mine.shape), rtol=1e-4, atol=1e-4)
            for source, copy in self.pairs(ours, theirs):
                self.assertAllClose(source.get_weights(), copy.get_weights(), rtol=1e-4, atol=1e-5)

    def raw(self):
        """Outputs of random logits and deltas, as ours and as Model Garden's maps by level."""
        ours, logits, deltas = {}, {}, {}
        for level in LEVELS:
            height, width = (-(-side // 2**level) for side in self.SIZE)
            draws = (tf.random.stateless_normal([self.BATCH, height * width * 9, n], [level, n]) for n in (CLASSES, 4))
            ours[level] = raw_logits, raw_deltas = tuple(draws)
            raw_logits -= 2.0
            ours[level] = raw_logits, 0.3 * raw_deltas
            logits[str(level)] = tf.reshape(raw_logits, [self.BATCH, height, width, -1])
            deltas[str(level)] = tf.reshape(0.3 * raw_deltas, [self.BATCH, height, width, -1])
        return ours, logits, deltas

    def anchors(self):
        return anchor.build_anchor_generator(LEVELS[0], LEVELS[-1], 3, [0.5, 1.0, 2.0], 4.0)(self.SIZE)

    def test_the_same_anchors(self):
        ours = DenseHead(CLASSES).anchors(self.SIZE, LEVELS)
        for level, boxes in self.anchors().items():
            self.assertAllClose(ours[int(level)], tf.reshape(boxes, [-1, 4]), rtol=1e-5, atol=1e-4)

    def test_the_same_losses(self):
        for positive, negative in ((0.5, 0.5), (0.5, 0.4)):
            ours, logits, deltas = self.raw()
            near = tf.random.stateless_uniform([self.BATCH, 4, 2], [3, 4]) * self.SIZE * 0.5
            side = tf.random.stateless_uniform([self.BATCH, 4, 2], [5, 6], 20.0, 60.0)
            boxes = tf.concat([near, near + side], -1)
            classes = tf.constant([[1, 2, 3, 1], [3, 3, 0, 0], [0, 0, 0, 0]])
            boxes = tf.where(classes[..., tf.newaxis] > 0, boxes, 0.0)
            labeler = anchor.AnchorLabeler(positive, negative)
            labels = []
            for image in range(self.BATCH):
                real = classes[image] > 0
                found = labeler.label_anchors(self.anchors(), boxes[image][real], classes[image][real][:, None] - 1)
                class_targets, box_targets, _, class_weights, box_weights = found
                labels.append(
                    {
                        "cls_targets": class_targets,
                        "box_targets": box_targets,
                        "cls_weights": class_weights,
                        "box_weights": box_weights,
                    }
                )
            labels = tf.nest.map_structure(lambda *parts: tf.stack(parts), *labels)
            config = configs.RetinaNetTask(model=configs.RetinaNet(num_classes=CLASSES))
            model_outputs = {"cls_outputs": logits, "box_outputs": deltas}
            total, class_loss, box_loss, _ = RetinaNetTask(config).build_losses(model_outputs, labels)
            head = DenseHead(CLASSES, matcher=Matcher(positive, negative))
            parts = head.loss_parts(ours, self.SIZE, {"boxes": boxes, "classes": classes})
            self.assertGreater(tf.reduce_sum(labels["box_weights"]), 10)
            self.assertEqual(bool(tf.reduce_all(labels["cls_weights"] == 1)), positive == negative)
            self.assertAllClose(parts["class_loss"], class_loss, rtol=1e-5)
            self.assertAllClose(parts["box_loss"], 50.0 * box_loss, rtol=1e-5)
            self.assertAllClose(sum(parts.values()), total, rtol=1e-5)

    def test_the_same_detections(self):
        ours, logits, deltas = self.raw()
        # Theirs drops the first logit of each anchor as background.
        padded = {}
        for level, x in logits.items():
            rows = tf.reshape(x, [*x.shape[:3], 9, CLASSES])
            padded[level] = tf.reshape(tf.pad(rows, [[0, 0]] * 4 + [[1, 0]]), [*x.shape[:3], -1])
        boxes = {level: tf.tile(x[tf.newaxis], [self.BATCH, 1, 1, 1]) for level, x in self.anchors().items()}
        size = tf.constant([[64.0, 96.0], [60.0, 90.0], [40.0, 96.0]])
        found = DenseHead(CLASSES, nms=NMS(candidates=5000)).detect(ours, self.SIZE, size)
        self.assertAllEqual(found["count"], [100] * self.BATCH)
        for version in ("v1", "v2", "batched"):
            theirs = MultilevelDetectionGenerator(nms_version=version, max_num_detections=200)
            expected = theirs(deltas, padded, boxes, size)
            for image in range(self.BATCH):
                # Theirs also finds boxes that lie outside the image and are empty once they are clipped.
                near, far = tf.split(expected["detection_boxes"][image], 2, -1)
                real = tf.where(tf.reduce_all(far > near, -1))[:100, 0]
                for name in ("boxes", "scores", "classes"):
                    value = tf.gather(expected[f"detection_{name}"][image], real)
                    self.assertAllClose(found[name][image], value, rtol=1e-5, atol=1e-4, msg=version)


class DetectTest(tf.test.TestCase):
    def detect(self, raw, image_size=FRAME, **options):
        found = small(nms=NMS(detections=5, **options)).detect(raw, FRAME, tf.constant([image_size], tf.float32))
        self.assertEqual(found["boxes"].shape, (1, 5, 4))
        return {name: value.numpy()[0] for name, value in found.items()}

    def test_a_logit_is_a_class_and_deltas_move_its_box(self):
        for logits, expected in (((5.0, -9.0), 1), ((-9.0, 5.0), 2)):
            found = self.detect(outputs(logits))
            self.assertAllEqual(found["classes"], [expected, 0, 0, 0, 0])
            self.assertAllClose(found["boxes"][0], BOX)
            self.assertAllClose(found["scores"][0], 1 / (1 + math.exp(-5)))
            self.assertEqual(found["count"], 1)
        found = self.detect(outputs(deltas=(0.5, 0.0, 0.0, math.log(0.5))))
        self.assertAllClose(found["boxes"][0], [12.0, 8.0, 28.0, 16.0])

    def test_the_image_s_border_cuts_boxes_and_drops_those_outside(self):
        self.assertAllClose(self.detect(outputs(), (18, 10))["boxes"][0], [4.0, 4.0, 18.0, 10.0])
        self.assertEqual(self.detect(outputs(), (4, 4))["count"], 0)

    def test_only_the_best_of_a_level_are_candidates(self):
        logits = tf.constant([[[3.0, 2.0], [1.0, 4.0]] + [[0.0, 0.0]] * 14])
        coarse = tf.constant([[[1.5, -9.0]] + [[-9.0, -9.0]] * 3])
        raw = {3: (logits, tf.zeros([1, 16, 4])), 4: (coarse, tf.zeros([1, 4, 4]))}
        found = self.detect(raw, candidates=2, iou=1.0)
        self.assertAllClose(found["scores"], tf.sigmoid([4.0, 3.0, 1.5]).numpy().tolist() + [0, 0])
        self.assertAllEqual(found["classes"], [2, 1, 1, 0, 0])

    def test_the_largest_logits_keep_their_order(self):
        logits = tf.constant([[[40.0, 50.0]] * 8 + [[60.0, 30.0]] + [[20.0, 70.0]] * 7])
        found = self.detect({3: (logits, tf.zeros([1, 16, 4]))}, candidates=8, iou=1.0)
        self.assertAllEqual(found["classes"], [2] * 5)
        self.assertAllClose(found["boxes"][0], [12.0, 4.0, 28.0, 20.0])  # the tenth place

    def test_options_of_suppression_reach_it(self):
        raw = outputs((5.0, 4.0), others=-9.0)
        self.assertEqual(self.detect(raw)["count"], 2)
        self.assertEqual(self.detect(raw, class_agnostic=True)["count"], 1)
        soft = self.detect(raw, class_agnostic=True, soft_sigma=0.5)
        self.assertAllClose(soft["scores"][:2], [1 / (1 + math.exp(-5)), math.exp(-2) / (1 + math.exp(-4))], rtol=1e-5)
        self.assertEqual(self.detect(raw, score_threshold=0.99)["count"], 1)


class LossTest(tf.test.TestCase):
    def losses(self, raw, *boxes, classes=(1,), **options):
        parts = small(**options).loss_parts(raw, FRAME, targets(*boxes, classes=classes))
        self.assertEqual(set(parts), {"class_loss", "box_loss"})
        return float(parts["class_loss"]), float(parts["box_loss"])

    def test_nothing_to_learn(self):
        losses = self.losses(outputs((30.0, -30.0), others=-30.0), BOX)
        self.assertAllClose(losses, [0.0, 0.0], atol=1e-6)

    def test_the_wrong_class_costs_twice(self):
        # One positive: divided by two. Missed: alpha, found where it is not: 1 - alpha, both 30 long.
        wrong = self.losses(outputs((-30.0, 30.0), others=-30.0), BOX)[0]
        self.assertAllClose(wrong, 0.5 * 30.0 * (0.25 + 0.75), rtol=1e-4)
        right = self.losses(outputs((-30.0, 30.0), others=-30.0), BOX, classes=(2,))[0]
        self.assertAllClose(right, 0.0, atol=1e-6)

    def test_no_opinion(self):
        # p = 1/2: alpha_t · (1/2)^1.5 · log 2 each; one of 32 logits is positive.
        loss = self.losses(outputs((0.0, 0.0), others=0.0), BOX)[0]
        self.assertAllClose(loss, 0.5 * 0.5**1.5 * math.log(2) * (0.25 + 31 * 0.75), rtol=1e-5)

    def test_huber_loss_of_a_wrong_delta_is_the_mean_of_four_coordinates(self):
        # One positive anchor, plus one in the denominator; weight 50.
        loss = self.losses(outputs(deltas=(1, 0, 0, 0)), BOX)[1]
        self.assertAllClose(loss, 50 * 0.5 * 0.1 * (1 - 0.1 / 2) / 4, rtol=1e-5)
        loss = self.losses(outputs(deltas=(0, 0, 0.05, 0)), BOX, box_loss=Huber(0.1))[1]
        self.assertAllClose(loss, 0.5 * 0.5 * 0.05**2 / 4, rtol=1e-5)

    def test_a_box_that_no_anchor_fits_claims_its_best(self):
        wanted = [-0.5 / 16, -0.5 / 16, math.log(3 / 16), math.log(3 / 16)]
        losses = self.losses(outputs((30.0, -30.0), wanted, others=-30.0), [10.0, 10.0, 13.0, 13.0])
        self.assertAllClose(losses, [0.0, 0.0], atol=1e-5)

    def test_anchors_between_the_thresholds_do_not_count(self):
        raw = outputs((30.0, -30.0), others=-30.0)
        logits = raw[3][0].numpy()
        for neighbour in (PLACE - 1, PLACE + 1, PLACE - 4, PLACE + 4):  # they overlap the box by a third
            logits[0, neighbour] = 30.0
        raw = {3: (tf.constant(logits), raw[3][1])}
        self.assertAllClose(self.losses(raw, BOX, matcher=Matcher(0.5, 0.3))[0], 0.0, atol=1e-6)
        self.assertGreater(self.losses(raw, BOX)[0], 1.0)

    def test_without_boxes_all_is_background_and_losses_finite(self):
        self.assertAllClose(self.losses(outputs((-30.0, -30.0), others=-30.0)), [0.0, 0.0], atol=1e-6)
        class_loss, box_loss = self.losses(outputs((0.0, 0.0), others=0.0))
        self.assertAllClose([class_loss, box_loss], [32 * 0.75 * 0.5**1.5 * math.log(2), 0.0], rtol=1e-5)

    def test_the_logits_of_half_precision_give_losses_in_float32(self):
        before = keras.mixed_precision.global_policy()
        self.addCleanup(keras.mixed_precision.set_global_policy, before)
        keras.mixed_precision.set_global_policy("mixed_bfloat16")
        head = small()
        parts = head.loss_parts(head(pyramid(1, FRAME, 6, (3,))), FRAME, targets(BOX))
        self.assertEqual({part.dtype for part in parts.values()}, {tf.float32})


if __name__ == "__main__":
    tf.test.main()
