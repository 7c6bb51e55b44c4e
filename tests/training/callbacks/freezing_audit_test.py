import tensorflow as tf

from tests.freezing import audit_test, tiny
from tf_frozen.errors import ConfigError, FreezeError
from tf_frozen.freezing.audit import Audit
from tf_frozen.keras_flavor import keras
from tf_frozen.training.callbacks.freezing_audit import FreezingAudit

DATA = tf.data.Dataset.from_tensors((tf.ones([4, 3]), tf.ones([4, 1]))).repeat(3)


class Writes(keras.Sequential):
    """Writes to its first kernel in the train step."""

    def train_step(self, data):
        logs = super().train_step(data)
        self.layers[0].kernel.assign_add(tf.ones([3, 2]))
        return logs


def small(kind=keras.Sequential, frozen=True, **options):
    """A plain Keras model whose first layer is frozen."""
    model = kind([keras.layers.Dense(2, trainable=not frozen), keras.layers.Dense(1)])
    model.build([None, 3])
    model.compile("sgd", "mse", **options)
    return model


class FreezingAuditTest(tf.test.TestCase):
    def test_a_frozen_layer_of_any_keras_model_is_proven(self):
        model, audit = small(), FreezingAudit()
        for _ in range(2):  # the second time with a step that is traced already
            model.fit(DATA, callbacks=[audit], verbose=0)
            report = audit.report
            self.assertEqual((report["verdict"], report["frozen_variables"], report["backward_ops"]), ("frozen", 2, 0))
            self.assertEqual(report["start"], report["end"])

    def test_a_step_that_writes_to_what_is_frozen_is_stopped_before_it_runs(self):
        for eagerly in (False, True):
            model, audit = small(Writes, run_eagerly=eagerly), FreezingAudit()
            before = model.get_weights()
            with self.assertRaisesRegex(FreezeError, "1 frozen variables are written to in the train step: .*kernel"):
                model.fit(DATA, callbacks=[audit], verbose=0)
            self.assertAllEqual(model.get_weights()[0], before[0])
            self.assertEqual((audit.report["verdict"], audit.report["writes"]), ("broken", 1))

    def test_a_frozen_variable_that_another_callback_changes(self):
        model = small()
        change = keras.callbacks.LambdaCallback(
            on_train_batch_end=lambda *_: model.layers[0].kernel.assign_add(tf.ones([3, 2]))
        )
        with self.assertRaisesRegex(FreezeError, "1 frozen variables changed during training: .*kernel"):
            model.fit(DATA, callbacks=[change, FreezingAudit()], verbose=0)

    def test_a_detector_is_stopped_by_the_verdict_of_a_run(self):
        model = tiny.detector(kind=audit_test.InsideTheTape)
        with self.assertRaises(FreezeError) as found:
            model.fit(tf.data.Dataset.from_tensors(tiny.batch()), callbacks=[FreezingAudit()], verbose=0)
        with self.assertRaises(FreezeError) as of_a_run:
            Audit(model, model.optimizer).inspect(tiny.traced_step(model))
        self.assertEqual(str(found.exception), str(of_a_run.exception))
        self.assertRegex(str(found.exception), "ops of the train step carry gradients through frozen variables")

    def test_nothing_frozen_is_a_warning(self):
        audit = FreezingAudit()
        with self.assertLogs("tf_frozen", "WARNING") as log:
            small(frozen=False).fit(DATA, callbacks=[audit], verbose=0)
        self.assertIn("Nothing of ", log.output[0])
        self.assertEqual(audit.report["verdict"], "nothing is frozen")

    def test_what_it_cannot_audit(self):
        model = keras.Sequential([keras.layers.Dense(1)])
        model.compile("sgd", "mse")
        with self.assertRaisesRegex(ConfigError, "do not exist yet: call the model on a batch"):
            model.fit(DATA, callbacks=[FreezingAudit()], verbose=0)
        with self.assertRaisesRegex(ConfigError, "give it to fit first"):
            _ = FreezingAudit().report


if __name__ == "__main__":
    tf.test.main()
