import io
import logging
import re
import shutil
import tempfile
import time

import tensorflow as tf

from tests.progress_test import Terminal
from tests.training import tiny
from tf_frozen.errors import RunError
from tf_frozen.keras_flavor import keras
from tf_frozen.training.callbacks.progress import Progress

LOSSES = r"loss [\d.e+-]+  fit_loss [\d.e+-]+  size_loss [\d.e+-]+"


class ProgressTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder)

    def _train(self, total, progress, step_seconds=0.0, **arguments):
        sleep = keras.callbacks.LambdaCallback(on_train_batch_begin=lambda batch, logs: time.sleep(step_seconds))
        scoring = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: time.sleep(step_seconds))
        with progress, self.assertLogs("tf_frozen", "INFO") as logs:
            tiny.train(self.folder, total, callbacks=[progress, sleep, scoring], **arguments)
        return [record.getMessage() for record in logs.records]

    def test_logs_a_line_now_and_then_and_at_the_end(self):
        lines = self._train(12, Progress(12, 4, seconds=0.25, stream=io.StringIO()), step_seconds=0.1)
        self.assertRegex(lines[0], r"^step 1 took [\d.]+ s, with the building of the graph$")
        between = lines[1:-1]
        self.assertBetween(len(between), 3, 9)
        rates = [float(re.search(r"([\d.]+) images/s", line).group(1)) for line in lines[2:]]
        # Four images in a step of 0.1 s and a little; with the first step or with what follows a step,
        # which takes as long again, it would be less.
        self.assertTrue(all(21 < rate < 41 for rate in rates), rates)
        self.assertLen([x for x in lines if re.search("images/s: the 6 steps left take about 0:0[01]$", x)], 1)
        self.assertRegex(lines[-1], rf"^step 12/12 \| [\d.]+ images/s \| 0:00 left \| {LOSSES}$")

    def test_a_resumed_run_goes_on_counting(self):
        tiny.train(self.folder, 5)
        lines = self._train(8, Progress(100, 4, stream=io.StringIO()))
        self.assertStartsWith(lines[0], "step 6 took")
        self.assertRegex(lines[-1], r"^step 8/100 \| .* left \| loss")

    def test_a_bar_on_a_terminal(self):
        stream = Terminal()
        lines = self._train(6, Progress(6, 4, stream=stream), step_seconds=0.15)
        self.assertLen(lines, 1)
        last = stream.getvalue().split("\r")[-1]
        self.assertRegex(last, r"^step 6/6 \|#+\| [\d.]+ images/s \| 0:00 left \| loss [\d.]+  ")

    def test_an_error_leaves_the_terminal_in_order(self):
        stream = Terminal()
        progress = Progress(6, 4, stream=stream)
        handlers = logging.getLogger().handlers[:]
        with self.assertLogs("tf_frozen", "INFO"), self.assertRaises(RunError), progress:
            tiny.train(self.folder, 6, callbacks=[progress], poison=3)
        self.assertEndsWith(stream.getvalue(), "\n")
        self.assertEqual(logging.getLogger().handlers, handlers)


if __name__ == "__main__":
    tf.test.main()
