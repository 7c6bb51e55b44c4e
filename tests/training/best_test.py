import json
import os
import tempfile
from pathlib import Path

import numpy as np
import tensorflow as tf

from tests.training import tiny
from tf_frozen.errors import RunError
from tf_frozen.training.best import Best
from tf_frozen.training.checkpoint import Checkpoints


class BestTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = Path(self.enter_context(tempfile.TemporaryDirectory()))
        self.model, self.optimizer = tiny.Tiny(), tiny.adam()
        self.checkpoints = Checkpoints(str(self.folder), self.model, self.optimizer, keep=2)
        self.best = Best(self.folder)

    def score(self, step, value, images=8, metric="AP"):
        """A score of `value` after the state of that step, whose kernel is filled with its number."""
        self.optimizer.iterations.assign(step)
        self.model.inside.kernel.assign(tf.fill(self.model.inside.kernel.shape, float(step)))
        better = self.best.offer(self.checkpoints.save, step, metric, value, images)
        self.checkpoints.save()
        return better

    def kept(self, best=None):
        """The step that the best checkpoint holds."""
        step = self.checkpoints.restore((best or self.best).path)
        np.testing.assert_array_equal(self.model.inside.kernel, np.full([8, 16], step, np.float32))
        return step

    def test_outlives_the_checkpoints_that_newer_ones_push_out(self):
        found = [self.score(step, value) for step, value in enumerate([0.1, 0.3, 0.2, 0.25, None, 0.1], start=1)]
        self.assertEqual(found, [True, True, False, False, False, False])
        self.assertFalse((self.folder / "checkpoints" / "ckpt-2.index").exists())
        self.assertEqual(self.kept(), 2)
        record = {"step": 2, "metric": "AP", "value": 0.3, "images": 8, "since": 4}
        self.assertEqual((self.best.record, Best(self.folder).record), (record, record))
        self.assertEqual({path.name.split(".")[0] for path in (self.folder / "best").iterdir()}, {"best", "ckpt-2"})
        with self.subTest("a later one that is as good takes its place"):
            self.assertTrue(self.score(7, 0.3))
            self.assertEqual((self.kept(), self.best.record["since"]), (7, 0))

    def test_scores_on_other_images_are_not_compared(self):
        self.score(1, 0.5, images=8)
        self.assertTrue(self.score(2, 0.1, images=20))
        self.assertTrue(self.score(3, 0.05, images=20, metric="AP50"))
        self.assertEqual(self.kept(), 3)

    def test_nothing_is_the_best_before_there_is_a_score(self):
        self.assertIsNone(self.best.path)
        self.assertFalse(self.score(1, None))
        self.assertIsNone(self.best.path)

    def test_a_kill_while_it_is_copied_keeps_the_one_before(self):
        self.score(1, 0.1)
        left = self.folder / "best" / "ckpt-2.index.part"
        left.write_bytes(b"half")
        again = Best(self.folder)
        self.assertEqual(self.kept(again), 1)
        self.score(3, 0.2)
        self.assertFalse(left.exists())

    def test_a_record_or_files_that_are_lost_are_said_and_end_nothing(self):
        self.score(1, 0.1)
        damages = (
            (".data*", lambda file: os.truncate(file, 30), r"is damaged \(.+\)"),
            (".index", os.remove, "is gone"),
        )
        for pattern, damage, said in damages:
            damage(next((self.folder / "best").glob(f"ckpt-1{pattern}")))
            with self.assertLogs("tf_frozen", "WARNING") as log:
                self.assertIsNone(Best(self.folder).path)
            self.assertRegex(log.output[0], f"ckpt-1, {said}: the latest one is used instead")
        record = json.loads((self.folder / "best" / "best.json").read_text())
        for text in ("", "[]", *map(json.dumps, ({"step": 1}, record | {"value": "text"}, record | {"step": 0.5}))):
            (self.folder / "best" / "best.json").write_text(text)
            with self.assertLogs("tf_frozen", "WARNING") as log:
                self.assertIsNone(Best(self.folder).record)
            self.assertIn("best.json cannot be read", log.output[0])
        self.best.forget()
        self.assertFalse((self.folder / "best").exists())

    def test_no_place_to_write_to(self):
        (self.folder / "best").write_text("in the way")
        with self.assertRaisesRegex(RunError, "best"):
            self.score(1, 0.1)


if __name__ == "__main__":
    tf.test.main()
