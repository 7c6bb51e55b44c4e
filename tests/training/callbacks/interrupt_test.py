import os
import re
import shutil
import signal
import tempfile
import time

import tensorflow as tf

from tests.training import tiny
from tests.training.lab import lab, text, wait_for
from tf_frozen.signals import Terminated, raised
from tf_frozen.training.callbacks.interrupt import StopOnInterrupt


class StopOnInterruptTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder)
        self.log = self.folder + "/log"

    def _start(self, step_seconds):
        """A process that is in a step, some steps after the beginning."""
        pid = lab().start("train", self.log, folder=self.folder, total=200, step_seconds=step_seconds)
        wait_for(lambda: re.search("begins 3|Error", text(self.log)))
        return pid

    def test_ctrl_c_finishes_the_step_saves_and_says_how_to_go_on(self):
        pid = self._start(step_seconds=0.3)
        os.kill(pid, signal.SIGINT)
        self.assertEqual(lab().wait(pid), 0, text(self.log))
        output = text(self.log)
        self.assertIn("interrupted: True", output)
        self.assertIn("Stopped by Ctrl-C after step 4 of 200 and saved. To resume, run the same command", output)
        self.assertIn("Ctrl-C again quits at once", output)
        self.assertEqual(output.count("begins"), output.count("ends"))
        self.assertEqual(tiny.state(self.folder)[1], 4)
        _, start = tiny.train(self.folder, total=6)
        self.assertEqual(start, 4)

    def test_a_second_ctrl_c_quits_at_once(self):
        pid = self._start(step_seconds=1.0)
        os.kill(pid, signal.SIGINT)
        wait_for(lambda: "Ctrl-C again" in text(self.log))
        started = time.monotonic()
        os.kill(pid, signal.SIGINT)
        self.assertEqual(lab().wait(pid), -signal.SIGINT, text(self.log))
        self.assertLess(time.monotonic() - started, 0.5)
        self.assertNotIn("ends 3", text(self.log))
        self.assertNotIn("checkpoints", os.listdir(self.folder))

    def test_a_termination_saves_and_then_ends_the_process_as_its_sender_wants(self):
        for number, step in ((signal.SIGTERM, 4), (signal.SIGHUP, 8)):
            pid = self._start(step_seconds=0.3)
            os.kill(pid, number)
            self.assertEqual(lab().wait(pid), -number, text(self.log))
            self.assertIn(f"Stopped by {number.name} after step {step} of 200 and saved. To resume,", text(self.log))
            self.assertEqual(tiny.state(self.folder)[1], step)

    def test_a_termination_does_not_wait_for_what_may_end_at_once(self):
        ended = []

        def score(step):
            try:
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(5)
            finally:
                ended.append(step)

        with self.assertRaises(Terminated) as caught, raised(), StopOnInterrupt(9) as interrupt:
            interrupt.at_once(score)(3)
        self.assertEqual((caught.exception.number, ended, interrupt.interrupted), (signal.SIGTERM, [3], False))
        with self.assertRaises(Terminated), raised(), StopOnInterrupt(9) as interrupt:
            os.kill(os.getpid(), signal.SIGTERM)
            interrupt.at_once(score)(4)
        self.assertEqual((ended, interrupt.interrupted), ([3], True))

    def test_the_old_handler_is_back_after_an_error(self):
        before = signal.getsignal(signal.SIGINT)
        with self.assertRaises(ZeroDivisionError), StopOnInterrupt(1):
            self.assertNotEqual(signal.getsignal(signal.SIGINT), before)
            raise ZeroDivisionError
        self.assertEqual(signal.getsignal(signal.SIGINT), before)


if __name__ == "__main__":
    tf.test.main()
