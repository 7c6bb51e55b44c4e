import re

import tensorflow as tf

from tests.freezing import tiny
from tf_frozen.detectors.rcnn import RCNN
from tf_frozen.errors import FreezeError
from tf_frozen.freezing.audit import CHECKS, Audit
from tf_frozen.freezing.fingerprint import fingerprints
from tf_frozen.freezing.traced_step import TracedStep
from tf_frozen.freezing.variable_paths import frozen_variables, variable_paths
from tf_frozen.keras_flavor import keras


class InsideTheTape(RCNN):
    """Frozen by `trainable = False` alone: the tape sees the backbone, as it does in Model Garden."""

    def train_step(self, data):
        images, _ = data
        with tf.GradientTape() as tape:
            feature_maps = self.backbone(self.backbone.preprocess(images), training=False)
            loss = tf.add_n([tf.reduce_mean(x**2) for x in self.neck(feature_maps, training=True).values()])
        variables = self.neck.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return {"loss": loss}


class BackboneInTheLoss(RCNN):
    def loss_parts(self, *arguments):
        decay = tf.nn.l2_loss(self.backbone.network.get_layer("stem_conv").kernel)
        return {**super().loss_parts(*arguments), "decay": decay}


class StatisticsOfTheBatch(RCNN):
    """Normalizes with the batch's statistics in a frozen backbone, and lets them into the moving ones."""

    def loss_parts(self, *arguments):
        conv, norm = (self.backbone.network.get_layer(name) for name in ("stem_conv", "stem_bn"))
        outputs = tf.compat.v1.nn.fused_batch_norm(
            conv(tf.ones([2, 8, 8, 3])), norm.gamma, norm.beta, is_training=True, epsilon=1e-3
        )
        norm.moving_mean.assign_sub(0.01 * outputs[1])
        return {**super().loss_parts(*arguments), "nothing": 0.0 * tf.reduce_sum(outputs[0])}


class UnfusedStatisticsOfTheBatch(RCNN):
    """The same as a synchronised norm computes it, without a write."""

    def loss_parts(self, pyramid, *arguments):
        norm = self.backbone.network.get_layer("stem_bn")
        outputs = pyramid[min(pyramid)]
        mean, variance = tf.nn.moments(outputs, [0, 1, 2])
        outputs = tf.nn.batch_normalization(outputs, mean, variance, norm.beta[:8], norm.gamma[:8], 1e-3)
        return {**super().loss_parts(pyramid, *arguments), "nothing": 0.0 * tf.reduce_sum(outputs)}


def frozen_dense(**options):
    model = keras.Sequential([keras.layers.Dense(2, trainable=False, **options), keras.layers.Dense(1)])
    model.build([None, 3])
    return model


class AuditTest(tf.test.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = tiny.detector()
        cls.variables = variable_paths(cls.model)
        cls.weights = cls.model.get_weights()

    def setUp(self):
        super().setUp()
        # Built once, as that takes most of the time, so every test begins with the same weights and no slots.
        self.model.set_weights(self.weights)
        self.model.backbone.trainable, self.model.neck.trainable = False, True
        self.optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
        self.model.compile(self.optimizer)

    def assertBroken(self, audit, what, path):
        with self.assertRaisesRegex(FreezeError, f"{what}.*{re.escape(path)}"):
            audit.finish()
        self.assertEqual(audit.as_dict()["verdict"], "broken")
        self.assertRegex(audit.as_dict()["violations"][0], f"{what}.*{re.escape(path)}")

    def test_training_leaves_a_frozen_backbone_as_it_was(self):
        step = tiny.traced_step(self.model)
        audit = Audit(self.model, self.optimizer)
        self.assertEqual(audit.as_dict()["verdict"], "not finished")
        before = fingerprints(self.variables)
        for _ in range(2):
            step(tiny.batch())
        audit.finish(step)
        report = audit.as_dict()
        self.assertEqual(report["verdict"], "frozen")
        self.assertEqual(report["start"], report["end"])
        self.assertEqual([report[key] for key in CHECKS], [0] * 7)
        backbone = {path for path in self.variables if path.startswith("backbone/")}
        self.assertEqual(set(report["start"]["fingerprints"]), backbone)
        after = fingerprints(self.variables)
        self.assertTrue(all(before[path] == after[path] for path in backbone))
        self.assertTrue(any(before[path] != after[path] for path in after if path.startswith("neck/")))

    def test_fine_tuning_changes_weights_and_statistics_and_goes_back_through_each_layer(self):
        model = tiny.detector("fine_tune")
        step = tiny.traced_step(model)
        audit = Audit(model, model.optimizer)
        backbone = variable_paths(model.backbone)
        before = fingerprints(backbone)
        step(tiny.batch())
        after = fingerprints(backbone)
        # Where a batch norm follows, a beta's gradient is zero but for rounding.
        moved = [path for path in before if "kernel" in path or "moving" in path]
        self.assertEqual([path for path in moved if before[path] == after[path]], [])
        audit.finish(step)
        self.assertEqual(audit.as_dict()["verdict"], "nothing is frozen")
        layers = [layer for layer in model.backbone.network.layers if layer.weights]
        # Every layer but the first convolution, whose input is the image, passes a gradient on.
        others = [v for v in model.weights if not any(v is mine for mine in model.backbone.weights)]
        self.assertGreaterEqual(len(TracedStep(step, backbone, others).backward_ops()), len(layers) - 1)

    def test_a_changed_weight_is_named(self):
        audit = Audit(self.model, self.optimizer)
        self.variables[tiny.STEM].assign_add(1e-6 * tf.ones([3, 3, 3, 32]))
        self.assertBroken(audit, "1 frozen variables changed during training", tiny.STEM)
        self.assertNotEqual(audit.as_dict()["start"]["digest"], audit.as_dict()["end"]["digest"])

    def test_a_touched_moving_mean_is_named(self):
        audit = Audit(self.model, self.optimizer)
        self.variables[tiny.STEM_MEAN].assign(0.99 * self.variables[tiny.STEM_MEAN])
        self.assertBroken(audit, "1 frozen variables changed", tiny.STEM_MEAN)

    def test_of_many_changed_the_first_are_named_and_all_counted(self):
        audit = Audit(self.model, self.optimizer)
        count = len(self.model.backbone.weights)
        for variable in self.model.backbone.weights:
            variable.assign(variable + 1.0)
        with self.assertRaisesRegex(FreezeError, rf"{count} frozen.*{tiny.STEM}, .* and {count - 5} more"):
            audit.finish()

    def test_a_slot_of_a_frozen_variable_is_named_at_the_start(self):
        self.optimizer.build([v for v in self.model.weights if v.trainable])
        with self.assertRaisesRegex(FreezeError, f"optimizer slots: {tiny.STEM}"):
            Audit(self.model, self.optimizer)

    def test_a_slot_made_later_or_left_from_before_is_named_at_the_end(self):
        self.optimizer.build(self.model.trainable_variables)
        audit = Audit(self.model, self.optimizer)
        self.optimizer.add_variable_from_reference(self.variables[tiny.STEM], "m")
        self.assertBroken(audit, "1 frozen variables have optimizer slots", tiny.STEM)

    def test_a_slot_of_a_legacy_optimizer_is_named(self):
        model = frozen_dense()
        optimizer = keras.optimizers.legacy.SGD(0.1, momentum=0.9)
        optimizer.apply_gradients([(tf.zeros_like(v), v) for v in model.trainable_variables])
        audit = Audit(model, optimizer)
        optimizer.apply_gradients([(tf.zeros_like(v), v) for v in model.layers[0].weights])
        self.assertBroken(audit, "2 frozen variables have optimizer slots", "kernel")

    def test_a_regularizer_of_a_frozen_weight_is_named(self):
        with self.assertRaisesRegex(FreezeError, "1 frozen variables are in a regularization loss: .*kernel"):
            Audit(frozen_dense(kernel_regularizer="l2"))
        free = keras.Sequential([keras.layers.Dense(1, kernel_regularizer="l2")])
        free.build([None, 3])
        Audit(free).finish()

    def test_a_loss_added_later_is_named_at_the_end(self):
        model = frozen_dense()
        audit = Audit(model)
        model.layers[0].add_loss(lambda: tf.nn.l2_loss(model.layers[0].bias))
        self.assertBroken(audit, "1 frozen variables are in a regularization loss", "bias")

    def test_a_backbone_inside_the_tape_is_found_in_the_traced_step(self):
        model = tiny.detector(kind=InsideTheTape)
        step = tiny.traced_step(model)
        audit = Audit(model, model.optimizer)
        audit.finish()
        with self.assertRaisesRegex(FreezeError, r"\d\d ops of the train step carry gradients"):
            audit.finish(step)
        self.assertEqual(audit.as_dict()["verdict"], "broken")
        self.assertEqual(audit.as_dict()["loss_terms"], 0)

    def test_frozen_weights_in_the_loss_are_found_in_the_traced_step(self):
        model = tiny.detector(kind=BackboneInTheLoss)
        step = tiny.traced_step(model)
        audit = Audit(model, model.optimizer)
        with self.assertRaisesRegex(
            FreezeError, f"1 sums of the train step add frozen weights to the loss: {tiny.STEM}"
        ):
            audit.finish(step)
        self.assertEqual(audit.as_dict()["backward_ops"], 0)

    def test_batch_statistics_and_writes_are_found_in_the_traced_step(self):
        model = tiny.detector(kind=StatisticsOfTheBatch)
        audit = Audit(model, model.optimizer, raises=False)
        audit.finish(tiny.traced_step(model))
        report = audit.as_dict()
        norm = tiny.STEM_MEAN.rpartition("/")[0]
        self.assertEqual(report["verdict"], "broken")
        self.assertEqual(report["names"]["writes"], [tiny.STEM_MEAN])
        self.assertEqual(report["names"]["batch_statistics"], [f"{norm}/gamma", f"{norm}/beta"])
        self.assertRegex(report["violations"][-2], f"1 frozen variables are written to .*: {tiny.STEM_MEAN}")
        self.assertRegex(report["violations"][-1], f"2 .* use the batch's statistics .*: {norm}/gamma, {norm}/beta")

    def test_batch_statistics_of_an_unfused_norm_are_found(self):
        model = tiny.detector(kind=UnfusedStatisticsOfTheBatch)
        audit = Audit(model, model.optimizer, raises=False)
        audit.finish(tiny.traced_step(model))
        norm = tiny.STEM_MEAN.rpartition("/")[0]
        self.assertEqual(audit.as_dict()["names"]["batch_statistics"], [f"{norm}/gamma"])
        self.assertEqual(audit.as_dict()["writes"], 0)

    def test_a_phase_that_begins_later_has_a_start_of_its_own_and_keeps_the_one_before(self):
        first = Audit(self.model, self.optimizer)
        first.finish()
        self.model.neck.trainable = False
        self.variables["neck/convs/0/kernel"].assign_add(tf.ones([3, 3, 8, 8]))
        second = Audit(self.model, self.optimizer, first.as_dict(), from_step=5)
        second.finish()
        report = second.as_dict()
        self.assertEqual((report["from_step"], report["phases"][0]["from_step"]), (5, 0))
        self.assertGreater(report["frozen_variables"], report["phases"][0]["frozen_variables"])
        Audit(self.model, self.optimizer, report, from_step=5).finish()
        self.variables[tiny.STEM].assign_add(tf.ones([3, 3, 3, 32]))
        self.model.neck.trainable = True
        with self.assertRaisesRegex(FreezeError, f"changed since the run began: {tiny.STEM}"):
            Audit(self.model, self.optimizer, report, from_step=9)

    def test_a_run_that_goes_on_is_held_to_its_first_fingerprints(self):
        first = Audit(self.model, self.optimizer)
        earlier = first.as_dict()
        again = tiny.detector()
        Audit(again, again.optimizer, earlier).finish()
        again.backbone.network.get_layer("stem_bn").gamma.assign_add(tf.ones([32]))
        with self.assertRaisesRegex(FreezeError, "changed since the run began: .*/stem_bn/gamma"):
            Audit(again, again.optimizer, earlier)

    def test_a_backbone_that_trains_although_its_mode_says_frozen_is_refused(self):
        self.model.backbone.trainable = True
        count = len(self.model.backbone.weights)
        with self.assertRaisesRegex(FreezeError, f"'frozen', but {count} of its variables are not frozen"):
            Audit(self.model, self.optimizer)

    def test_a_frozen_layer_of_the_neck_is_watched_with_its_statistics_and_may_pass_gradients(self):
        model = tiny.detector()
        model.neck.norms[0].trainable = False
        frozen = [path for path in frozen_variables(model) if path.startswith("neck/")]
        names = ("gamma", "beta", "moving_mean", "moving_variance")
        self.assertEqual(frozen, [f"neck/norms/0/{name}" for name in names])
        step = tiny.traced_step(model)
        audit = Audit(model, model.optimizer)
        step(tiny.batch())
        audit.finish(step)
        self.assertEqual(audit.as_dict()["verdict"], "frozen")
        self.assertEqual(audit.as_dict()["backward_ops"], 0)


if __name__ == "__main__":
    tf.test.main()
