import functools

import numpy as np
import tensorflow as tf

from tests.freezing import tiny
from tf_frozen.backbones.features import Features
from tf_frozen.errors import ConfigError
from tf_frozen.freezing.traced_step import TracedStep
from tf_frozen.freezing.variable_paths import variable_paths
from tf_frozen.keras_flavor import keras
from tf_frozen.necks.nas_fpn import NASFPN

PARTS = ("rpn_score_loss", "rpn_box_loss", "class_loss", "box_loss", "weight_decay")


def detector(mode="frozen", eagerly=False, seed=0):
    """A detector whose initial weights are the same each time."""
    keras.utils.set_random_seed(1)
    model = tiny.detector(mode)
    model.seed = seed
    model.compile(keras.optimizers.SGD(0.05, momentum=0.9), run_eagerly=eagerly)
    return model


def fit(model, batches):
    """The logs of each step."""
    steps = []
    take = keras.callbacks.LambdaCallback(on_train_batch_end=lambda _, logs: steps.append(dict(logs)))
    data = tf.data.Dataset.from_tensors(batches[0])
    for batch in batches[1:]:
        data = data.concatenate(tf.data.Dataset.from_tensors(batch))
    model.fit(data, callbacks=[take], verbose=0)
    return steps


def batch(boxes_in=(True, True)):
    """The batch of `tiny`, its images with or without their box."""
    images, targets = tiny.batch()
    keep = tf.constant(boxes_in)[:, tf.newaxis]
    boxes = tf.where(keep[..., tf.newaxis], targets["boxes"], 0.0)
    return images, {**targets, "boxes": boxes, "classes": tf.where(keep, targets["classes"], 0)}


@functools.cache
def untrained():
    """A detector with a norm in the neck that needs no training, so that its scores are not all 0 or 1."""
    keras.utils.set_random_seed(1)
    model = tiny.detector()
    model.neck = NASFPN(8, 1, norm=keras.layers.GroupNormalization(groups=2))
    model(batch()[0])
    return model


@functools.cache
def trained(mode):
    """A detector after three steps, its logs, and its backbone's weights and its other weights before them."""
    model = detector(mode)
    before = [weight.numpy() for weight in model.backbone.weights], [w.numpy() for w in model.neck.weights]
    logs = fit(model, [batch()] * 3)
    return model, logs, *before


class TrainingTest(tf.test.TestCase):
    def test_a_frozen_backbone_is_bit_identical_after_training(self):
        model, _, backbone, neck = trained("frozen")
        for before, after in zip(backbone, model.backbone.weights, strict=True):
            self.assertEqual(before.tobytes(), after.numpy().tobytes(), after.name)
        for before, after in zip(neck, model.neck.weights, strict=True):
            self.assertNotAllEqual(before, after)

    def test_a_fine_tuned_backbone_is_not(self):
        model, _, backbone, _ = trained("fine_tune")
        same = [
            weight.name
            for before, weight in zip(backbone, model.backbone.weights, strict=True)
            # A shift before a batch norm in training mode has no gradient, so only kernels must move.
            if weight.shape.rank > 1 and before.tobytes() == weight.numpy().tobytes()
        ]
        self.assertEmpty(same)

    def test_logs_hold_the_loss_parts_and_their_sum(self):
        for mode in ("frozen", "fine_tune"):
            for logs in trained(mode)[1]:
                self.assertEqual(set(logs), {"loss", *PARTS})
                self.assertAllClose(logs["loss"], sum(logs[name] for name in PARTS), rtol=1e-5)

    def test_no_backward_op_lies_in_a_frozen_backbone_and_some_in_a_fine_tuned_one(self):
        counts = {}
        for mode in ("frozen", "fine_tune"):
            model = tiny.detector(mode)
            ids = {id(weight) for weight in model.backbone.weights}
            others = [weight for weight in model.weights if id(weight) not in ids]
            step = TracedStep(tiny.traced_step(model), variable_paths(model.backbone), others)
            counts[mode] = len(step.backward_ops())
        kernels = [weight for weight in model.backbone.weights if weight.shape.rank > 1]
        self.assertEqual(counts["frozen"], 0)
        self.assertGreaterEqual(counts["fine_tune"], len(kernels))

    def test_features_of_a_frozen_backbone_stand_for_its_images(self):
        images, targets = batch()
        model = detector()
        feature_maps = model.backbone(model.backbone.preprocess(images), training=False)
        features = Features(
            {str(level): feature_map for level, feature_map in feature_maps.items()}, (tiny.SIZE, tiny.SIZE)
        )
        # Within a graph TensorFlow merges convolutions and norms, which rounds otherwise than these maps were.
        for cached, plain in zip(fit(model, [(features, targets)] * 2), trained("frozen")[1][:2], strict=True):
            self.assertAllClose(cached, plain, rtol=1e-5)
        halves = Features(
            {str(level): tf.cast(feature_map, tf.float16) for level, feature_map in feature_maps.items()},
            features.frame,
        )
        expected = model.training_losses(images, targets)
        self.assertAllClose(model.training_losses(halves, targets), expected, rtol=1e-2)
        with self.assertRaisesRegex(ConfigError, "features instead of images, but 45 weights of the backbone train"):
            detector("fine_tune").training_losses(features, targets)

    def test_a_frozen_neck_behind_a_frozen_backbone_infers_and_keeps_its_statistics(self):
        model = detector()
        model.neck.trainable = False
        model.compile(keras.optimizers.SGD(0.05))
        before = model.neck.get_weights()
        model.train_step(batch())
        for old, new in zip(before, model.neck.get_weights(), strict=True):
            self.assertAllEqual(old, new)
        ids = {id(weight) for weight in model.neck.weights} | {id(weight) for weight in model.backbone.weights}
        others = [weight for weight in model.weights if id(weight) not in ids]
        self.assertEmpty(TracedStep(tiny.traced_step(model), variable_paths(model.neck), others).backward_ops())

    def test_features_stand_between_the_backbone_and_the_rest(self):
        images, targets = batch()
        for mode in ("frozen", "fine_tune"):
            model, other = detector(mode), untrained()
            features = model.features(images)
            self.assertIs(features.images, None)
            # `other` reads the maps of the same backbone, which has trained in neither.
            for each in (model, other):
                self.assertAllClose(each.detect_from(features, targets["image_size"]), each(images), rtol=0, atol=0)
            parts = model.losses_from(features, targets)
            losses = model.test_step((images, targets))
            self.assertAllClose({**parts, "loss": tf.add_n([*parts.values()])}, losses, rtol=0, atol=0)
        with self.assertRaisesRegex(ConfigError, "features instead of images"):
            model.losses_from(features, targets, training=True)

    def test_a_step_is_its_gradients_and_their_application(self):
        model, same = detector(), detector()
        logs = model.train_step(batch())
        gradients, losses = same.gradients(batch())
        self.assertLen(gradients, len(same.trainable_variables))
        self.assertAllClose(losses, logs, rtol=0, atol=0)
        same.apply(gradient / 2 + gradient / 2 for gradient in gradients)  # as one that accumulates them
        for expected, found in zip(model.get_weights(), same.get_weights(), strict=True):
            self.assertAllEqual(found, expected)

    def test_gradients_are_those_of_the_loss_whatever_its_scale(self):
        found = []
        for scale in (1.0, 1024.0):
            model = detector()
            optimizer = keras.mixed_precision.LossScaleOptimizer(keras.optimizers.SGD(), False, initial_scale=scale)
            model.compile(optimizer)
            found.append(model.gradients(batch())[0])
        self.assertAllClose(*found, rtol=1e-5)

    def test_weight_decay_covers_the_kernels_that_train_and_no_frozen_one(self):
        model = detector()
        kernels = [w.numpy() for w in model.trainable_weights if "kernel" in w.name]
        expected = 0.5 * model.weight_decay * sum(np.sum(np.square(kernel.astype(np.float64))) for kernel in kernels)
        frozen = {id(weight) for weight in model.backbone.weights}
        self.assertNotEmpty(kernels)
        self.assertFalse(frozen & {id(weight) for weight in model.trainable_weights})
        self.assertAllClose(model.train_step(batch())["weight_decay"], expected)
        model = detector()
        for weight in model.backbone.weights:
            weight.assign(2.0 * weight)
        self.assertAllClose(model.train_step(batch())["weight_decay"], expected)

    def test_weight_decay_of_a_fine_tuned_backbone_covers_it(self):
        frozen, fine_tuned = (trained(mode)[1][0]["weight_decay"] for mode in ("frozen", "fine_tune"))
        backbone = trained("fine_tune")[2]
        kernels = sum(np.sum(np.square(weight.astype(np.float64))) for weight in backbone if weight.ndim > 1)
        self.assertAllClose(fine_tuned - frozen, 0.5 * 4e-5 * kernels, rtol=1e-3)

    def test_without_weight_decay_there_is_no_such_part(self):
        model = detector()
        model.weight_decay = 0.0
        self.assertEqual(set(model.train_step(batch())), {"loss", *PARTS[:-1]})

    def test_steps_with_the_same_seed_are_identical(self):
        _, logs, *_ = trained("frozen")
        keras.utils.set_random_seed(99)
        model = detector()
        keras.utils.set_random_seed(100)  # what else is drawn in the process must not matter
        self.assertEqual(fit(model, [batch()] * 3), logs)

    def test_another_seed_samples_otherwise(self):
        losses = [float(detector(seed=seed).train_step(batch())["class_loss"]) for seed in (0, 0, 5)]
        self.assertEqual(losses[0], losses[1])
        self.assertNotEqual(losses[0], losses[2])

    def test_a_step_s_sample_depends_on_how_many_went_before(self):
        model = detector()
        model.optimizer.build(model.trainable_variables)
        model.optimizer.learning_rate = 0.0
        first, second = (model.train_step(batch()) for _ in range(2))
        self.assertNotEqual([float(v) for v in first.values()], [float(v) for v in second.values()])

    def test_it_trains_eagerly_as_in_a_graph(self):
        for mode in ("frozen", "fine_tune"):
            eager = fit(detector(mode, eagerly=True), [batch()] * 2)
            for logs, expected in zip(eager, trained(mode)[1], strict=False):
                self.assertAllClose(logs, expected, rtol=1e-2)

    def test_images_without_boxes_train_too(self):
        model = detector(eagerly=True)
        before = model.neck.get_weights()
        logs = fit(model, [batch((True, False)), batch((False, False))])
        for step in logs:
            self.assertAllInSet(np.isfinite(list(step.values())), [True])
        self.assertGreater(logs[0]["rpn_box_loss"], 0.0)
        self.assertEqual((logs[1]["rpn_box_loss"], logs[1]["box_loss"]), (0.0, 0.0))
        for old, new in zip(before, model.neck.get_weights(), strict=True):
            self.assertAllInSet(np.isfinite(new), [True])
            self.assertNotAllEqual(old, new)


class CallTest(tf.test.TestCase):
    def test_an_image_without_padding_is_the_default(self):
        model, (images, _) = untrained(), batch()
        whole = model(images, tf.fill([2, 2], float(tiny.SIZE)))
        for name, value in model(images).items():
            self.assertAllEqual(value, whole[name])

    def test_boxes_lie_in_the_part_that_is_not_padding(self):
        model, (images, _) = untrained(), batch()
        found = model(images, tf.constant([[40.0, 64.0], [64.0, 17.5]]))
        self.assertAllGreater(found["count"], 0)
        self.assertAllInRange(found["boxes"][0], 0.0, [40.0, 64.0, 40.0, 64.0])
        self.assertAllInRange(found["boxes"][1], 0.0, [64.0, 17.5, 64.0, 17.5])

    def test_rows_after_the_count_are_zeros(self):
        # Nothing is found in an image of no size.
        found = untrained()(batch()[0], tf.constant([[64.0, 64.0], [0.0, 0.0]]))
        self.assertAllEqual(found["count"] > 0, [True, False])
        for row in range(2):
            count = int(found["count"][row])
            self.assertAllInRange(found["classes"][row, :count], 1, 2)
            self.assertAllInRange(found["scores"][row, :count], 0.05, 1.0)
            self.assertAllEqual(np.sort(found["scores"][row, :count])[::-1], found["scores"][row, :count])
            for name in ("boxes", "scores", "classes"):
                self.assertAllEqual(found[name][row, count:], np.zeros_like(found[name][row, count:]))

    def test_detection_changes_no_weight(self):
        model, (images, _) = untrained(), batch()
        before = model.get_weights()
        model(images)
        for old, new in zip(before, model.get_weights(), strict=True):
            self.assertAllEqual(old, new)

    def test_frames_of_unknown_size_are_refused(self):
        model = untrained()
        with self.assertRaisesRegex(ConfigError, r"shape \(None, None, None, 3\).*frames of one fixed size"):
            tf.function(model.call, autograph=False).get_concrete_function(tf.TensorSpec([None, None, None, 3]))


if __name__ == "__main__":
    tf.test.main()
