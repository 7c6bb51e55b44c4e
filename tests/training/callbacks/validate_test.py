import tempfile
from pathlib import Path

import numpy as np
import tensorflow as tf

from tests.training import tiny
from tf_frozen.training.averaging import ramp_momentum
from tf_frozen.training.best import Best
from tf_frozen.training.callbacks.validate import Validate
from tf_frozen.training.checkpoint import Checkpoints
from tf_frozen.training.validation import Validation


class Scores:
    """Stands in for a scorer: gives the recall of a list, and notes the step and the weights that it is called with."""

    examples, sample = [None] * 8, "8 of 20 val images"
    headline, brief = "recall", ["recall", "IoU"]

    def __init__(self, model, values):
        self.model, self.values, self.seen = model, iter(values), []

    def score(self, step):
        self.seen.append((step, self.model.out.kernel.numpy()))
        value = next(self.values)
        return {"recall": value, "IoU": value}


class ValidateTest(tf.test.TestCase):
    def fit(self, values, steps, last, start=0, **settings):
        folder = Path(self.enter_context(tempfile.TemporaryDirectory()))
        self.model, optimizer = tiny.Tiny(), ramp_momentum(tiny.adam())
        checkpoints = Checkpoints(str(folder), self.model, optimizer)
        self.model.compile(optimizer)
        self.best, self.scores = Best(folder), Scores(self.model, values)
        validation = Validation(**settings)
        self.callback = Validate(steps, last, self.scores, self.best, checkpoints, validation)
        with self.assertLogs("tf_frozen", "INFO") as log:
            self.model.fit(tiny.batches(start, last), callbacks=[self.callback], verbose=0)
        return "\n".join(log.output)

    def test_scores_in_intervals_and_at_the_end_by_averages(self):
        said = self.fit([0.1, 0.2, 0.15, None], steps=3, last=10)
        self.assertEqual([step for step, _ in self.scores.seen], [3, 6, 9, 10])
        self.assertEqual((self.best.record["step"], self.best.record["since"]), (6, 2))
        self.assertFalse(self.callback.stopped)
        self.assertIn("step 6: recall 0.200, IoU 0.200 on 8 of 20 val images | best so far", said)
        self.assertIn("step 9: recall 0.150, IoU 0.150 on 8 of 20 val images\n", said)
        self.assertIn("step 10: no score on", said)
        average = self.model.optimizer._model_variables_moving_average[-2]
        np.testing.assert_array_equal(self.scores.seen[-1][1], average)

    def test_stops_when_patience_ends(self):
        said = self.fit([0.3, 0.2, 0.1, 0.4], steps=2, last=20, patience=2)
        self.assertEqual([step for step, _ in self.scores.seen], [2, 4, 6])
        self.assertTrue(self.callback.stopped)
        self.assertEqual(int(self.model.optimizer.iterations), 6)
        self.assertIn("Stopping after step 6: none of the last 2 scores was better than the best", said)


if __name__ == "__main__":
    tf.test.main()
