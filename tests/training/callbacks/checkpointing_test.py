import os
import shutil
import tempfile
import time

import numpy as np
import tensorflow as tf

from tests.training import tiny
from tf_frozen.keras_flavor import keras
from tf_frozen.training.callbacks.checkpointing import Checkpointing
from tf_frozen.training.checkpoint import Checkpoints, complete_checkpoints


class CheckpointingTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder)

    def _train(self, total, wait=0.0, **every):
        model, optimizer = tiny.Tiny(), tiny.adam()
        checkpoints = Checkpoints(self.folder, model, optimizer, keep=100)
        start = checkpoints.restore_latest()
        model.compile(optimizer)
        sleep = keras.callbacks.LambdaCallback(on_train_batch_begin=lambda batch, logs: time.sleep(wait))
        model.fit(tiny.batches(start, total), callbacks=[sleep, Checkpointing(checkpoints, **every)], verbose=0)
        paths = complete_checkpoints(os.path.join(self.folder, "checkpoints"))
        return model, [int(path.rsplit("-", 1)[1]) for path in paths]

    def test_saves_every_so_many_steps_of_the_run_and_at_the_end(self):
        self.assertEqual(self._train(5, seconds=None, steps=3)[1], [3, 5])
        self.assertEqual(self._train(10, seconds=None, steps=3)[1], [3, 5, 6, 9, 10])

    def test_saves_when_the_time_has_come(self):
        self.assertEqual(self._train(4, wait=0.15, seconds=0.01)[1], [1, 2, 3, 4])
        self.assertEqual(self._train(8, wait=0.01, seconds=60)[1], [1, 2, 3, 4, 8])

    def test_saves_the_trained_weights_not_their_averages(self):
        model, _ = self._train(6)
        saved, _ = tiny.state(self.folder)
        kernel = saved["detector/inside/kernel/.ATTRIBUTES/VARIABLE_VALUE"]
        # Keras has put the averages into the model at the end of fit.
        self.assertGreater(np.abs(kernel - model.inside.kernel.numpy()).max(), 0.01)


if __name__ == "__main__":
    tf.test.main()
