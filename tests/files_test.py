import errno
import os
import shutil
import subprocess
import tempfile

import tensorflow as tf

from tests.training.lab import text
from tf_frozen.errors import RunError
from tf_frozen.files import write_atomic, write_error


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

    def test_no_inode_left(self):
        mount = ["mount", "-t", "tmpfs", "-o", "size=1m,nr_inodes=3", "tmpfs", self.folder]
        if subprocess.run(mount, capture_output=True).returncode:
            self.skipTest("may not mount a small disk here")
        self.addCleanup(subprocess.run, ["umount", self.folder], check=True)
        write_atomic(self.folder + "/first", "kept")
        open(self.folder + "/second", "w").close()
        with self.assertRaisesRegex(RunError, "Cannot write .*first: No space left .*no free inode.* Remove files"):
            write_atomic(self.folder + "/first", "new")
        self.assertEqual(text(self.folder + "/first"), "kept")

    def test_what_a_killed_write_left_is_removed_by_the_next_one_but_not_what_another_process_writes_now(self):
        path = os.path.join(self.folder, "config.gin")
        names = [".config.gin.abcd_123", ".config.gin.zyxw_987", ".other.gin.abcd_123"]
        for name in names:
            open(os.path.join(self.folder, name), "w").close()
        for name in (names[0], names[2]):
            os.utime(os.path.join(self.folder, name), (0, 0))
        write_atomic(path, "A = 1\n")
        self.assertEqual(sorted(os.listdir(self.folder)), [*names[1:], "config.gin"])


class WriteErrorTest(tf.test.TestCase):
    def said(self, error, needed=0):
        return str(write_error("runs/mine/x.json", error, needed))

    def test_what_to_do_follows_from_the_reason(self):
        expected = {
            errno.ENOSPC: "It needs 1,000 bytes; .* bytes are free there. Make room, then run the same command again",
            errno.EDQUOT: "quota exceeded. It needs 1,000 bytes; .* free there. Remove files that count .* or have it",
            errno.EFBIG: "ulimit -f",
            errno.EROFS: "Read-only file system. Mount the file system for writing, or choose another path",
            errno.EACCES: "Permission denied. Give this user permission",
            errno.EPERM: "Give this user permission",
            errno.ENOENT: "Make the folder",
            errno.ENAMETOOLONG: "Choose a shorter path",
            errno.EIO: "Input/output error. Check the disk",
        }
        for number, advice in expected.items():
            with self.subTest(errno.errorcode[number]):
                said = self.said(OSError(number, os.strerror(number)), 1000)
                self.assertRegex(said, f"^Cannot write runs/mine/x.json: .*{advice}")
                self.assertEqual("Make room" in said, number == errno.ENOSPC)

    def test_an_error_of_tensorflow_has_its_reason_as_text_only(self):
        error = tf.errors.PermissionDeniedError(
            None, None, "{{function_node a/b}} /ro/x_temp/part; Read-only file system [Op:SaveV2]\nmore"
        )
        said = self.said(error)
        self.assertIn("x.json: /ro/x_temp/part; Read-only file system. Mount the file system for writing", said)


if __name__ == "__main__":
    tf.test.main()
