from types import SimpleNamespace
from unittest import mock

import tensorflow as tf

from tf_frozen.training import expected_time
from tf_frozen.training.expected_time import expected_seconds


class ExpectedSecondsTest(tf.test.TestCase):
    def seconds(self, forward_flops=2e9, **arguments):
        """The time of ten images with a backbone of three seconds, as the fastest of three passes."""
        backbone = {"forward_flops": forward_flops, "step_flops": 2e9}
        costs = {"step_flops": 12e9, "parts": {"backbone": backbone}}
        features = SimpleNamespace(maps={3: tf.zeros([1, 1, 1, 1])})
        detector = SimpleNamespace(features=lambda image: features if image.shape == (1, 64, 96, 3) else None)
        clock = [0.0, 9.0, 10.0, 13.0, 20.0, 24.0]
        with mock.patch.object(expected_time.time, "perf_counter", side_effect=clock):
            return expected_seconds(detector, costs, (64, 96), 10, **arguments)

    def test_all_multiply_adds_run_as_fast_as_the_backbones(self):
        self.assertAllClose(self.seconds(), 10 * 3 * 12 / 2)
        self.assertAllClose(self.seconds(cached=True), 10 * 3 * 10 / 2)

    def test_without_multiply_adds_in_the_backbone_nothing_is_known(self):
        self.assertIsNone(self.seconds(forward_flops=0))


if __name__ == "__main__":
    tf.test.main()
