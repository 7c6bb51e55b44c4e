import os

import tensorflow as tf

from tf_frozen.data import paths
from tf_frozen.errors import DataError


class ResolveTest(tf.test.TestCase):
    def test_embedded_data_lies_in_the_package(self):
        found = paths.resolve("embedded:neon_trees/val.json")

        self.assertTrue(os.path.isabs(found) and os.path.isfile(found))

    def test_home_is_expanded_and_the_rest_left_alone(self):
        self.assertEqual(paths.resolve("~/a.json"), os.path.join(os.path.expanduser("~"), "a.json"))
        self.assertEqual(paths.resolve("photos/~a.json"), "photos/~a.json")

    def test_unknown_embedded_data_names_what_there_is(self):
        with self.assertRaisesRegex(DataError, "embedded:neon_trees/val.json") as caught:
            paths.resolve("embedded:neon_trees/test.json")

        self.assertEqual([fault.kind for fault in caught.exception.faults], ["missing_embedded"])


if __name__ == "__main__":
    tf.test.main()
