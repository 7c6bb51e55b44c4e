"""Tests of data/reading.py."""

import os
from pathlib import Path

import numpy as np
import tensorflow as tf

from tests.data.pipeline_test import PicturesTestCase
from tf_frozen.data.pipeline import TrainBatches, eval_batches
from tf_frozen.data.reading import named
from tf_frozen.errors import DataError


class NamedTest(PicturesTestCase):
    def fault(self, change):
        """The fault that training and scoring report after `change(path)` of the second of three images."""
        data, path = self.pictures(3), self.path("picture 1")
        change(path)
        found = []
        for dataset in (TrainBatches(data, (8, 8), 3).dataset(0, 1), eval_batches(data, (8, 8), 3)):
            with self.assertRaisesRegex(DataError, f"{path}, image picture 1: .*\n.*run the same command") as caught:
                with named(data):
                    next(iter(dataset))
            self.assertNotIn("node", str(caught.exception))
            found += caught.exception.faults
        self.assertEqual(*found)
        return found[0]

    def test_an_image_that_is_gone(self):
        self.assertEqual(self.fault(os.remove).kind, "missing_image")

    def test_an_image_that_was_cut(self):
        fault = self.fault(lambda path: os.truncate(path, os.path.getsize(path) - 20))
        self.assertStartsWith(fault.message, "cannot be decoded")

    def test_an_image_that_is_empty_now(self):
        self.assertEqual(self.fault(lambda path: os.truncate(path, 0)).message, "the file is empty")

    def test_an_image_of_another_size(self):
        other = tf.io.encode_png(np.zeros([20, 30, 3], np.uint8)).numpy()
        fault = self.fault(lambda path: Path(path).write_bytes(other))
        self.assertEqual(fault.kind, "changed_image")
        self.assertEqual(fault.message, "the image has 30 x 20 pixels, but had 20 x 20 when it was checked")

    def test_outside_of_a_graph(self):
        data = self.pictures(1)
        os.remove(data.paths[0])
        with self.assertRaisesRegex(DataError, "the file does not exist"), named(data):
            data.image(0)

    def test_other_errors_pass(self):
        data = self.pictures(1)
        with self.assertRaises(tf.errors.InvalidArgumentError), named(data):
            tf.reshape(tf.zeros([3]), [2])
        with self.assertRaises(tf.errors.InvalidArgumentError), named(data):
            tf.io.decode_image(b"none of these images")
        with self.assertRaises(FileNotFoundError), named(data):
            open(os.path.join(self.get_temp_dir(), "nothing"))


if __name__ == "__main__":
    tf.test.main()
