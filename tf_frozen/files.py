"""Files that are either written whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import glob
import os
import shutil
import tempfile

from tf_frozen.errors import RunError

_RANDOM_PART = 8  # the letters that mkstemp ends a name with
_SECONDS_A_WRITE_TAKES = 60
_IN_THE_WAY = tuple(os.strerror(number) for number in (errno.EEXIST, errno.EISDIR, errno.ENOTDIR))


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
        raise write_error(path, len(text.encode()), error.strerror or str(error)) from error
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


def write_error(path: str, needed: int, reason: str) -> RunError:
    """A RunError that gives the path, the reason, and what is in the way or the bytes that were needed and are free."""
    place = os.path.abspath(path)
    while not os.path.exists(place):
        place = os.path.dirname(place)
    is_folder = os.path.isdir(place)
    if not is_folder and place != os.path.abspath(path) or reason in _IN_THE_WAY:
        kind = "a folder" if is_folder else "a file"
        return RunError(f"Cannot write {path}: {place} is {kind}. Remove or rename it, or choose another path.")
    free = shutil.disk_usage(place).free
    return RunError(
        f"Cannot write {path}: {reason}. It needs {needed:,} bytes; {free:,} bytes are free there. Make room (or lift "
        "the limit or write protection), then run the same command again."
    )
