import time
from unittest import mock

import tensorflow as tf

from tf_frozen.training import expected_time
from tf_frozen.training.expected_time import least_seconds

COSTS = {"step_flops": 13e9, "parts": {"backbone": {"step_flops": 3e9}}, "frame": [640, 640], "batch": 1}


class LeastSecondsTest(tf.test.TestCase):
    def test_multiply_adds_of_images_of_that_size_at_that_speed(self):
        with mock.patch.object(expected_time, "_speed", return_value=2e9):
            self.assertAllClose(least_seconds(COSTS, (640, 640), 10), 65.0)
            self.assertAllClose(least_seconds({**COSTS, "batch": 2}, (320, 640), 10), 16.25)
            self.assertAllClose(least_seconds(COSTS, (640, 640), 10, cached=True), 50.0)

    def test_the_speed_is_that_of_the_fastest_of_the_convolutions_that_ran(self):
        with mock.patch.object(time, "perf_counter", side_effect=[0.0, 9.0, 10.0, 10.5, 20.0, 21.0]):
            seconds = least_seconds(COSTS, (640, 640), 10)
        self.assertAllClose(seconds, 130e9 * 0.5 / (8 * 32 * 32 * 256**2 * 9))


if __name__ == "__main__":
    tf.test.main()
