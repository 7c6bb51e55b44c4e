import errno
import json
import os
import signal
import socket
import tempfile
from pathlib import Path
from unittest import mock

import tensorflow as tf

from tests.training.lab import lab, text, wait_for
from tf_frozen.errors import RunError
from tf_frozen.signals import Terminated
from tf_frozen.training.run_lock import NAME, RunLock


class RunLockTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = Path(self.enter_context(tempfile.TemporaryDirectory())) / "runs" / "mine"

    def assert_free(self):
        with RunLock(self.folder):
            self.assertEqual(json.loads((self.folder / NAME).read_text())["pid"], os.getpid())

    def leave(self, host, age=0):
        """A lock that a process of that host left, or holds, where the file system does not pass locks on."""
        self.folder.mkdir(parents=True)
        path = self.folder / NAME
        path.write_text(json.dumps({"host": host, "pid": 1, "since": "2026-01-01 12:00:00+00:00"}))
        os.utime(path, (path.stat().st_mtime - age,) * 2)

    def test_is_released_at_the_end_and_leaves_nothing_where_nothing_was_written(self):
        with self.assertRaises(ZeroDivisionError), RunLock(self.folder) as lock:
            with lock:
                pass
            self.assertTrue((self.folder / NAME).exists())
            raise ZeroDivisionError
        self.assertFalse(self.folder.parent.exists())
        with RunLock(self.folder):
            (self.folder / "config.gin").touch()
        self.assertEqual(os.listdir(self.folder), ["config.gin"])
        self.assert_free()

    def test_a_signal_while_the_lock_is_taken_leaves_nothing(self):
        for function in "os.pwrite", "threading.Thread.start":
            with self.subTest(function), mock.patch(function, side_effect=Terminated(signal.SIGTERM)):
                with self.assertRaises(Terminated):
                    RunLock(self.folder).__enter__()
                self.assertFalse(self.folder.parent.exists())
        self.assert_free()

    def test_another_process_is_named_and_a_dead_ones_lock_is_free_at_once(self):
        log = str(self.folder.parent.parent / "log")
        pid = lab().start("hold_lock", log, folder=str(self.folder))
        try:
            wait_for(lambda: "held" in text(log) or "Error" in text(log))
            said = rf"uses .*/runs/mine: process {pid} on {socket.gethostname()} since 20\d\d-\d\d-\d\d .*Wait for it"
            with self.assertRaisesRegex(RunError, said):
                self.assert_free()
        finally:
            os.kill(pid, signal.SIGKILL)
            lab().wait(pid)
        self.assertTrue((self.folder / NAME).exists())
        self.assert_free()

    def test_a_process_id_that_lives_again_means_nothing(self):
        self.leave(socket.gethostname())
        self.assert_free()

    def test_a_lock_of_another_host_is_free_once_its_holder_has_not_touched_it_for_long(self):
        self.leave("elsewhere", age=20)
        said = r"process 1 on elsewhere since 2026-01-01 12:00:00\+00:00. It was alive 20 seconds ago. If it has ended,"
        with self.assertRaisesRegex(RunError, said):
            self.assert_free()
        self.assertEqual(os.listdir(self.folder), [NAME])
        os.utime(self.folder / NAME, (0, 0))
        self.assert_free()

    def test_without_the_systems_locks_the_file_alone_decides(self):
        self.leave(socket.gethostname(), age=20)
        with mock.patch("fcntl.flock", side_effect=OSError(errno.ENOLCK, "No locks available")):
            with self.assertRaisesRegex(RunError, "It was alive 20 seconds ago"):
                self.assert_free()
            os.utime(self.folder / NAME, (0, 0))
            self.assert_free()

    def test_a_holder_touches_its_file(self):
        with mock.patch("tf_frozen.training.run_lock._BEAT_SECONDS", 0.01), RunLock(self.folder):
            os.utime(self.folder / NAME, (0, 0))
            wait_for(lambda: (self.folder / NAME).stat().st_mtime > 0)

    def test_a_folder_that_is_removed_or_moved_is_noticed(self):
        with RunLock(self.folder) as lock:
            lock.check()
            self.folder.rename(self.folder.with_name("moved"))
            with self.assertRaisesRegex(RunError, "mine was removed, moved or replaced"):
                lock.check()
            with RunLock(self.folder):
                with self.assertRaisesRegex(RunError, "removed, moved or replaced"):
                    lock.check()

    def test_a_file_where_the_folder_must_be(self):
        self.folder.parent.mkdir()
        self.folder.write_text("")
        with self.assertRaisesRegex(
            RunError, "Cannot write .*: .*/runs/mine is a file. Remove or rename it, or choose"
        ):
            self.assert_free()
        self.assertEqual(self.folder.read_text(), "")


if __name__ == "__main__":
    tf.test.main()
