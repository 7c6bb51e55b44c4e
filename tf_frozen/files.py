"""Files that are either written whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile

from tf_frozen.errors import RunError


def write_atomic(path: str, text: str) -> None:
    """Replaces `path` (UTF-8) in one move, making its folder; RunError, the old file kept, if it cannot."""
    folder = os.path.dirname(os.path.abspath(path))
    temporary = None
    try:
        os.makedirs(folder, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=f".{os.path.basename(path)}.", dir=folder)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # mkstemp makes files that only their owner can read
        os.replace(temporary, path)
        sync(folder)
    except OSError as error:
        if temporary and os.path.exists(temporary):
            os.remove(temporary)
        raise write_error(path, len(text.encode()), error.strerror or str(error)) from error


def sync(path: str) -> None:
    """Waits until a file or folder is on the disk itself, so that it outlives a loss of power."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_error(path: str, needed: int, reason: str) -> RunError:
    """A RunError that gives the path, the reason, and the bytes that were needed and are free."""
    folder = os.path.abspath(path)
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    return RunError(
        f"Cannot write {path}: {reason}. It needs {needed:,} bytes; {shutil.disk_usage(folder).free:,} bytes "
        "are free there. Make room (or lift the limit or write protection), then run the same command again."
    )
