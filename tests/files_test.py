import os
import shutil
import tempfile

import tensorflow as tf

from tests.training.lab import text
from tf_frozen.errors import RunError
from tf_frozen.files import write_atomic


class WriteAtomicTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder)

    def test_writes_replaces_and_makes_the_folder(self):
        path = os.path.join(self.folder, "a", "b.json")
        write_atomic(path, "tree \N{EVERGREEN TREE}\n")
        write_atomic(path, "birch\n")
        self.assertEqual(text(path), "birch\n")
        self.assertEqual(os.listdir(os.path.dirname(path)), ["b.json"])
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o644)

    def test_a_path_that_cannot_be_is_an_error_with_the_reason(self):
        write_atomic(os.path.join(self.folder, "file"), "kept")
        with self.assertRaisesRegex(RunError, r"Cannot write .*file/x.json: File exists\. It needs 3 bytes"):
            write_atomic(os.path.join(self.folder, "file", "x.json"), "new")
        os.mkdir(os.path.join(self.folder, "folder"))
        with self.assertRaisesRegex(RunError, "Cannot write .*folder: "):
            write_atomic(os.path.join(self.folder, "folder"), "new")
        self.assertEqual(sorted(os.listdir(self.folder)), ["file", "folder"])


if __name__ == "__main__":
    tf.test.main()
