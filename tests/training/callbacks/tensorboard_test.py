import shutil
import tempfile

import numpy as np
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import STORE_EVERYTHING_SIZE_GUIDANCE
from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator

from tests.training import tiny
from tests.training.lab import lab
from tf_frozen.keras_flavor import keras
from tf_frozen.training.callbacks.tensorboard import TensorBoard


class TensorBoardTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.folder, self.events = tempfile.mkdtemp(), tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder)
        self.addCleanup(shutil.rmtree, self.events)

    def _read(self):
        guidance = {**STORE_EVERYTHING_SIZE_GUIDANCE, "tensors": 0}
        accumulator = EventAccumulator(self.events, size_guidance=guidance)
        accumulator.Reload()
        return accumulator

    def _points(self, tag):
        return [(event.step, float(tf.make_ndarray(event.tensor_proto).flat[0])) for event in self._read().Tensors(tag)]

    def test_loss_parts_learning_rate_and_rate(self):
        logged = {}
        note = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: logged.update({batch + 1: logs}))
        tiny.train(self.folder, 7, callbacks=[TensorBoard(self.events, 4, steps=3), note])
        tags = {"loss", "fit_loss", "size_loss", "learning_rate", "images_per_second"}
        self.assertEqual(set(self._read().Tags()["tensors"]), {f"train/{tag}" for tag in tags})
        for part in ("loss", "fit_loss", "size_loss"):
            expected = [(step, np.float32(logged[step][part])) for step in (3, 6, 7)]
            self.assertEqual(self._points(f"train/{part}"), expected)
        schedule = tiny.adam()._learning_rate
        rates = self._points("train/learning_rate")
        self.assertAllClose([rate for _, rate in rates], [float(schedule(step - 1)) for step in (3, 6, 7)])
        self.assertTrue(all(rate > 0 for _, rate in self._points("train/images_per_second")))

    def test_a_resumed_run_replaces_what_was_not_saved(self):
        board = TensorBoard(self.events, 4, steps=1)
        tiny.train(self.folder, 4, callbacks=[board])
        board.scalars(5, {"train/loss": 100.0})  # as a killed run does, whose last checkpoint is of step 4
        board.scalars(9, {"train/loss": 100.0})
        tiny.train(self.folder, 7, callbacks=[TensorBoard(self.events, 4, steps=1)])
        points = self._points("train/loss")
        self.assertEqual([step for step, _ in points], [1, 2, 3, 4, 5, 6, 7])
        self.assertLess(max(loss for _, loss in points), 100.0)

    def test_a_full_disk_is_a_warning_and_what_was_written_can_be_read(self):
        status, output = lab().run("events_with_limit", self.folder + "/log", folder=self.events, most_bytes=70_000)
        self.assertEqual(status, 0, output)
        self.assertEqual(output.count("TensorBoard's events are no longer written to"), 1, output)
        self.assertNotIn("Traceback", output)
        self.assertIn("went on", output)
        self.assertEqual([event.step for event in self._read().Tensors("noise")], [0, 1])

    def test_pictures(self):
        pictures = np.arange(2 * 6 * 5 * 3, dtype=np.uint8).reshape(2, 6, 5, 3)
        board = TensorBoard(self.events, 4)
        board.images(3, "val", pictures[1])
        board.images(3, "tiles", pictures)
        read = self._read()
        for tag, expected in {"val": pictures[1], "tiles/0": pictures[0], "tiles/1": pictures[1]}.items():
            (event,) = read.Tensors(tag)
            width, height, png = tf.make_ndarray(event.tensor_proto)[:3]
            self.assertEqual((event.step, int(width), int(height)), (3, 5, 6))
            self.assertAllEqual(tf.io.decode_png(png), expected)


if __name__ == "__main__":
    tf.test.main()
