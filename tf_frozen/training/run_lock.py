"""Locks a run's folder, so that one process at a time trains in it."""

from __future__ import annotations

import contextlib
import datetime
import errno
import fcntl
import json
import os
import socket
import threading
from pathlib import Path

from tf_frozen.errors import RunError
from tf_frozen.files import write_error

NAME = "train.lock"
_BEAT_SECONDS, _DEAD_SECONDS = 15.0, 90.0
_UNSUPPORTED = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}


class RunLock:
    """Holds `folder`/train.lock inside `with`, which may be nested; makes the folder, and removes it if still empty.

    The lock is the system's (flock), which ends with its process, however that ends: a dead process's lock is free at
    once, and a process id that is used again means nothing. The file says who holds it. Some network file systems
    do not pass locks on to other hosts, so the holder touches the file every 15 seconds besides: one of another host
    that is younger than 90 seconds counts as held. Raises RunError, naming host, process and since when, where another
    process trains, and where nothing can be written to the folder.
    """

    def __init__(self, folder: Path):
        self._folder, self._path = folder, folder / NAME
        self._depth, self._descriptor, self._held = 0, -1, False
        self._made: list[Path] = []
        self._ended = threading.Event()

    def __enter__(self) -> RunLock:
        if not self._depth:
            self._acquire()
        self._depth += 1
        return self

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
        if not self._depth:
            self._release()

    def check(self) -> None:
        """Raises RunError where the folder was removed, moved or replaced since the lock is held."""
        if not self._is_ours():
            raise RunError(
                f"{self._folder} was removed, moved or replaced while this process trained in it, so nothing can be "
                "saved there any more. If it was moved, move it back and run the same command again: training resumes "
                "from the last checkpoint."
            )

    def _acquire(self) -> None:
        try:
            self._made = [folder for folder in (self._folder, *self._folder.parents) if not folder.exists()]
            self._folder.mkdir(parents=True, exist_ok=True)
            while self._descriptor < 0 or not self._is_ours():  # a holder that ends removes the file
                self._close()
                self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
                self._lock()
            self._write_holder()
            self._ended = threading.Event()
            threading.Thread(target=self._beat, args=(self._ended,), daemon=True).start()
        except OSError as error:
            self._release()
            raise write_error(str(self._path), error) from error
        except BaseException:  # a signal may come before `with` is entered, and nothing would call __exit__
            self._release()
            raise

    def _lock(self) -> None:
        holder = self._holder()
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            may_live = holder and holder.get("host") != socket.gethostname()
        except BlockingIOError as error:
            raise RunError(f"{self._is_used_by(holder)} Wait for it to end, or stop it.") from error
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
            may_live = bool(holder)
        age = self._age() if may_live else _DEAD_SECONDS
        if age < _DEAD_SECONDS:
            raise RunError(
                f"{self._is_used_by(holder)} It was alive {age:.0f} seconds ago. If it has ended, run the same command "
                f"again {_DEAD_SECONDS:.0f} seconds after its end."
            )
        self._held = True

    def _is_used_by(self, holder: dict) -> str:
        who = "process {pid} on {host} since {since}".format(**{"pid": "?", "host": "?", "since": "?", **holder})
        return f"Another `tf-frozen train` uses {self._folder}: {who}."

    def _holder(self) -> dict:
        """Returns the content of the file; {} if it is empty, as between a holder's opening and writing."""
        with contextlib.suppress(ValueError):
            content = json.loads(os.pread(self._descriptor, 1000, 0))
            if isinstance(content, dict):
                return content
        return {}

    def _write_holder(self) -> None:
        now = datetime.datetime.now().astimezone().isoformat(" ", "seconds")
        content = json.dumps({"host": socket.gethostname(), "pid": os.getpid(), "since": now}) + "\n"
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, content.encode(), 0)

    def _age(self) -> float:
        """Seconds since the holder touched the file, by the clock of the disk."""
        before = os.fstat(self._descriptor).st_mtime
        probe = self._path.with_name(f".{NAME}.{os.getpid()}")
        try:
            probe.touch()
            return probe.stat().st_mtime - before
        finally:
            probe.unlink(missing_ok=True)

    def _beat(self, ended: threading.Event) -> None:
        while not ended.wait(_BEAT_SECONDS):
            with contextlib.suppress(OSError):
                os.utime(self._descriptor)

    def _is_ours(self) -> bool:
        try:
            return os.path.samestat(os.fstat(self._descriptor), os.stat(self._path))
        except OSError:
            return False

    def _release(self) -> None:
        self._ended.set()
        with contextlib.suppress(OSError):  # the folder may be gone
            if self._held and self._is_ours():
                self._path.unlink()
        for folder in self._made:
            with contextlib.suppress(OSError):  # an error where it is not empty
                folder.rmdir()
        self._close()

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor, self._held = -1, False
