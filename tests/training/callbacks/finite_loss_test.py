import pathlib
import shutil
import tempfile

import numpy as np
import tensorflow as tf

from tests.training import tiny
from tf_frozen.errors import RunError
from tf_frozen.keras_flavor import keras
from tf_frozen.training.callbacks.checkpointing import Checkpointing
from tf_frozen.training.callbacks.finite_loss import FiniteLoss
from tf_frozen.training.checkpoint import Checkpoints


class FiniteLossTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder)

    def test_stops_with_the_part_the_step_and_the_images(self):
        with self.assertRaises(RunError) as caught:
            tiny.train(self.folder, total=9, poison=5, save_steps=1)
        message = str(caught.exception)
        self.assertRegex(
            message,
            r"The loss part 'fit_loss' is inf at step 6 \(loss = inf, fit_loss = inf, size_loss = 0\.",
        )
        self.assertIn("Image ids of the batch: tile_20, tile_21, tile_22, tile_23.\n", message)
        values, step = tiny.state(self.folder)
        self.assertEqual(step, 5)
        self.assertTrue(all(np.isfinite(value).all() for value in values.values()))

    def test_its_advice_goes_on_from_the_checkpoint_before(self):
        with self.assertRaisesRegex(RunError, r"remove its files \(ckpt-STEP\.\*\)"):
            tiny.train(self.folder, total=9, poison=5, save_steps=1)
        spoilt = list(pathlib.Path(self.folder).rglob("ckpt-5.*"))
        self.assertLen(spoilt, 2)
        for file in spoilt:
            file.unlink()
        self.assertEqual(tiny.train(self.folder, total=9)[1], 4)
        self.assertEqual(tiny.state(self.folder)[1], 9)

    def test_counts_steps_and_images_over_a_resumed_run(self):
        tiny.train(self.folder, total=3)
        with self.assertRaisesRegex(RunError, "at step 5 (.|\n)*: tile_16, tile_17, tile_18, tile_19"):
            tiny.train(self.folder, total=9, poison=4)
        self.assertEqual(tiny.state(self.folder)[1], 3)
        tiny.train(self.folder, total=6)
        self.assertEqual(tiny.state(self.folder)[1], 6)

    def test_names_all_batches_that_one_call_of_the_device_trained_on(self):
        model, optimizer = tiny.Tiny(), tiny.adam()
        model.compile(optimizer, steps_per_execution=2)
        data = tiny.batches(0, 6, poison=2)
        with self.assertRaisesRegex(RunError, "at step 4 (.|\n)*: tile_8, tile_9, .*, tile_15\\."):
            model.fit(data, steps_per_epoch=6, callbacks=[FiniteLoss(tiny.image_ids)], verbose=0)

    def test_nothing_is_saved_after_it_in_any_order_of_callbacks(self):
        model, optimizer = tiny.Tiny(), tiny.adam()
        checkpoints = Checkpoints(self.folder, model, optimizer)
        model.compile(optimizer)
        callbacks = [Checkpointing(checkpoints, seconds=None, steps=1), FiniteLoss(tiny.image_ids)]
        with self.assertRaisesRegex(RunError, "'fit_loss' is inf at step 3"):
            model.fit(tiny.batches(0, 5, poison=2), callbacks=callbacks, verbose=0)
        self.assertEqual(tiny.state(self.folder)[1], 2)

    def test_a_gradient_that_is_not_a_number_is_not_saved_either(self):
        class Root(tiny.Tiny):
            def train_step(self, data):
                logs = super().train_step(data)
                # As the gradient of a square root at 0 does: the loss is finite, the weights are not.
                self.out.kernel.assign(self.out.kernel * np.nan)
                return logs

        model, optimizer = Root(), keras.optimizers.SGD(0.1)
        checkpoints = Checkpoints(self.folder, model, optimizer)
        checkpoints.save()
        model.compile(optimizer)
        callbacks = [FiniteLoss(tiny.image_ids), Checkpointing(checkpoints)]
        with self.assertRaisesRegex(RunError, "After step 1 .*\n.*\n *detector/out/kernel"):
            model.fit(tiny.batches(0, 1), callbacks=callbacks, verbose=0)
        self.assertEqual(tiny.state(self.folder)[1], 0)


if __name__ == "__main__":
    tf.test.main()
