"""Writes files atomically: complete, or not at all."""

from __future__ import annotations

import contextlib
import errno
import glob
import os
import re
import shutil
import tempfile

from tf_frozen.errors import RunError

_RANDOM_PART = 8  # the letters that mkstemp ends a name with
_SECONDS_A_WRITE_TAKES = 60
_IN_THE_WAY = (errno.EEXIST, errno.EISDIR, errno.ENOTDIR)
_PERMISSION = "Give this user permission to write there, or choose another path"
_ADVICE = {
    errno.ENOSPC: "Make room",
    errno.EDQUOT: "Remove files that count towards the quota, or have it raised",
    errno.EFBIG: "Lift the limit on the size of files (ulimit -f)",
    errno.EROFS: "Mount the file system for writing, or choose another path",
    errno.EACCES: _PERMISSION,
    errno.EPERM: _PERMISSION,
    errno.ENOENT: "Make the folder that it lies in, or choose another path",
    errno.ENAMETOOLONG: "Choose a shorter path",
}
_NODES = re.compile(r"{{.*?}} ?| \[Op:.*")  # TensorFlow's names of its operations
_SIZES = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def write_atomic(path: str, text: str) -> None:
    """Replaces `path` (UTF-8) in one move, making its folder; RunError, the old file kept, if it cannot."""
    folder = os.path.dirname(os.path.abspath(path))
    temporary = None
    try:
        os.makedirs(folder, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=f".{os.path.basename(path)}.", dir=folder)
        _remove_older(temporary)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # mkstemp makes files that only their owner can read
        os.replace(temporary, path)
        temporary = None
        sync(folder)
    except OSError as error:
        raise write_error(path, error, len(text.encode())) from error
    finally:
        if temporary and os.path.exists(temporary):
            os.remove(temporary)


def _remove_older(temporary: str) -> None:
    """Removes what killed writes of the same file left; one that is younger than a minute may be another process's."""
    prefix, now = temporary[:-_RANDOM_PART], os.stat(temporary).st_mtime  # by the clock of the disk
    for path in glob.glob(glob.escape(prefix) + "?" * _RANDOM_PART):
        with contextlib.suppress(OSError):
            if now - os.stat(path).st_mtime > _SECONDS_A_WRITE_TAKES:
                os.remove(path)


def remove(path: str) -> None:
    """Removes a file, or a folder with all that it holds."""
    shutil.rmtree(path) if os.path.isdir(path) and not os.path.islink(path) else os.remove(path)


def sync(path: str) -> None:
    """Waits until a file or folder is on the disk itself, so that it outlives a loss of power."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_error(path: str, error: Exception, needed: int = 0, note: str = "") -> RunError:
    """The RunError for an OSError, or TensorFlow's error of a write: path, reason, and what to do about this reason.

    `needed` is the size in bytes of what could not be written, `note` says more of the reason.
    """
    reason = getattr(error, "strerror", None) or _NODES.sub("", str(error).split("\n")[0])
    place = os.path.abspath(path)
    while not os.path.exists(place):
        place = os.path.dirname(place)
    is_folder, number = os.path.isdir(place), _number(error)
    if not is_folder and place != os.path.abspath(path) or number in _IN_THE_WAY:
        kind = "a folder" if is_folder else "a file"
        return RunError(f"Cannot write {path}: {place} is {kind}. Remove or rename it, or choose another path.")
    advice = _ADVICE.get(number, "Check the disk, or choose another path")
    if number in _SIZES:
        size = f"It needs {needed:,} bytes; " if needed else ""
        advice = f"{size}{shutil.disk_usage(place).free:,} bytes are free there. {advice}"
    if number == errno.ENOSPC and _has_no_inode(place):
        advice = "The file system has no free inode for another file. Remove files there"
    return RunError(f"Cannot write {path}: {reason}{note}. {advice}, then run the same command again.")


def _number(error: Exception) -> int | None:
    """The system's number of the error, which TensorFlow's errors have as text only."""
    known = (number for number in (*_ADVICE, *_IN_THE_WAY) if os.strerror(number) in str(error))
    return getattr(error, "errno", None) or next(known, None)


def _has_no_inode(place: str) -> bool:
    system = os.statvfs(place)
    return system.f_files > 0 and system.f_favail == 0  # some file systems count none and have 0 of 0


def absolute(path: str | os.PathLike) -> str:
    """Makes a path mean the same file from any folder; 'embedded:...', URLs and '' stay as they are."""
    path = os.fspath(path)
    if not path or path.startswith("embedded:") or "://" in path:
        return path
    return os.path.abspath(os.path.expanduser(path))
