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
        with self.assertRaisesRegex(RunError, r"Cannot write .*/x.json: .*/file is a file\. Remove or rename"):
            write_atomic(os.path.join(self.folder, "file", "x.json"), "new")
        os.mkdir(os.path.join(self.folder, "folder"))
        with self.assertRaisesRegex(RunError, "Cannot write .*folder: .*folder is a folder"):
            write_atomic(os.path.join(self.folder, "folder"), "new")
        self.assertEqual(sorted(os.listdir(self.folder)), ["file", "folder"])

    def test_what_a_killed_write_left_is_removed_by_the_next_one_but_not_what_another_process_writes_now(self):
        path = os.path.join(self.folder, "config.gin")
        names = [".config.gin.abcd_123", ".config.gin.zyxw_987", ".other.gin.abcd_123"]
        for name in names:
            open(os.path.join(self.folder, name), "w").close()
        for name in (names[0], names[2]):
            os.utime(os.path.join(self.folder, name), (0, 0))
        write_atomic(path, "A = 1\n")
        self.assertEqual(sorted(os.listdir(self.folder)), [*names[1:], "config.gin"])


if __name__ == "__main__":
    tf.test.main()
