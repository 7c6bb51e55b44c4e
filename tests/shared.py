"""What takes long to make and all processes of a test session share: made once, by the first that asks."""

import atexit
import contextlib
import fcntl
import functools
import os
import pathlib
import shutil
import tempfile

SESSION = "TF_FROZEN_TEST_SESSION"  # the environment variable that names the session's folder; conftest.py sets it


def made_once(name, make):
    """The folder that `make(folder)` filled, in this process or another; to be read, or copied and changed there."""
    folder = session_folder() / name
    made = pathlib.Path(f"{folder}.made")
    with _locked(f"{folder}.lock"):
        if not made.exists():
            shutil.rmtree(folder, ignore_errors=True)  # of one that failed
            folder.mkdir(parents=True)
            make(folder)
            made.touch()
    return folder


@functools.cache
def session_folder():
    """The session's folder; without pytest one of this process alone."""
    if SESSION in os.environ:
        return pathlib.Path(os.environ[SESSION])
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return pathlib.Path(folder)


@contextlib.contextmanager
def _locked(path):
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # ends with the file, also where a process is killed
        yield
