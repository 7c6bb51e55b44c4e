"""What happens to a training process, and what happens around it."""

import os
import re
import shutil
import signal
import tempfile
from pathlib import Path

import gin
import tensorflow as tf

from tests.commands import job
from tests.training import tiny_run

ENDLESS = ("TRAIN_STEPS = 20000", "Run.checkpoint_seconds = 1e6")


class EnvironmentFaultsTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = tiny_run.write(self.enter_context(tempfile.TemporaryDirectory()) + "/job")
        self.model_dir = self.folder / "run"

    def train(self, *params):
        words = tiny_run.words(self.folder, self.model_dir, *ENDLESS, *params)
        return job.Process(words, self.folder / "log", self.folder)

    def steps(self, process):
        return "step 1 took" in process.output

    def fails(self, process, change):
        """What the process says when it ends with 2 after a change to its surroundings."""
        try:
            job.wait_for(lambda: self.steps(process) or "Traceback" in process.output, seconds=120)
        finally:
            change()
        self.assertEqual(process.end(), 2, process.output)
        self.assertNotIn("Traceback", process.output)
        return process.output

    def test_a_termination_before_the_first_step_leaves_nothing(self):
        process = self.train()
        code = process.end(signal.SIGTERM, (self.model_dir / "train.lock").exists)
        self.assertEqual(code, 143, process.output)
        self.assertIn("Ended by SIGTERM.", process.output)
        self.assertFalse(self.model_dir.exists())

    def test_a_termination_while_training_saves(self):
        process = self.train()
        self.assertEqual(process.end(signal.SIGTERM, lambda: self.steps(process)), 143, process.output)
        step = int(re.search(r"Stopped by SIGTERM after step (\d+) of 20000 and saved", process.output)[1])
        self.assertEqual(job.saved_step(self.model_dir), step)
        self.assertFalse((self.model_dir / "train.lock").exists())

    def test_a_termination_while_scoring_ends_at_once_and_the_run_can_be_finished(self):
        def scores():
            """Whether the state that is scored first is saved: the graph of scoring takes a second to build."""
            return (checkpoints / "ckpt-2.index").exists() and not (checkpoints / "saving").exists()

        checkpoints, steps = self.model_dir / "checkpoints", ("TRAIN_STEPS = 4", "Run.evaluate_every = 2")
        process = self.train(*steps)
        self.assertEqual(process.end(signal.SIGTERM, scores), 143, process.output)
        self.assertIn("Ended by SIGTERM.", process.output)
        self.assertNotIn("step 2: ", process.output)
        self.assertEqual(job.saved_step(self.model_dir), 2)
        process = self.train(*steps)
        self.assertEqual(process.end(signal.SIGTERM, lambda: "the best of the run" in process.output), 143)
        self.assertIn("Resuming from step 2", process.output)
        self.assertNotIn("Scores on the val split", process.output)
        self.assertFalse((self.model_dir / "train.lock").exists())
        self.addCleanup(gin.clear_config)
        run = tiny_run.load(self.folder, self.model_dir, *steps)
        self.assertTrue(run.train())
        self.assertIn("AP50", run.evaluate().metrics)

    def test_an_image_that_is_gone_or_cut_is_named_and_the_state_is_saved(self):
        photo = next(path for path in sorted((self.folder / "photos").iterdir()) if path.name.startswith("train"))
        content = photo.read_bytes()
        for change in (photo.unlink, lambda: os.truncate(photo, 3000)):
            shutil.rmtree(self.model_dir, ignore_errors=True)
            photo.write_bytes(content)
            said = self.fails(self.train(), change)
            self.assertIn(photo.name, said)
            self.assertIn("run the same command again", said)
            self.assertNotIn("{{node", said)
            self.assertGreater(job.saved_step(self.model_dir), 0)

    def test_a_folder_that_is_moved_away_ends_training_and_is_not_made_again(self):
        moved = Path(f"{self.model_dir}_moved")
        said = self.fails(self.train(), lambda: self.model_dir.rename(moved))
        self.assertIn("run was removed, moved or replaced while this process trained in it", said)
        self.assertFalse(self.model_dir.exists())


if __name__ == "__main__":
    tf.test.main()
