"""Finds a checkpoint that is given as a folder, a path prefix, a .tar.gz, or the address of one."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tarfile
import tempfile
import urllib.parse
import zlib
from collections.abc import Iterator

import tensorflow as tf

from tf_frozen.errors import ConfigError
from tf_frozen.keras_flavor import keras

_PARTS = re.compile(r"\.(index|data-\d+-of-\d+)$")
_ARCHIVE_ERRORS = (tarfile.TarError, OSError, EOFError, zlib.error)


@contextlib.contextmanager
def checkpoint_prefix(source: str) -> Iterator[str]:
    """Gives the prefix under which TensorFlow reads the checkpoint `source`, for as long as the context lasts.

    An http(s) address is downloaded once, into Keras's cache; a tar archive is unpacked to a temporary folder. Raises
    ConfigError when there is no checkpoint, more than one, or it cannot be read.
    """
    path = os.path.expanduser(source)
    if re.match(r"https?://", path):
        path = _downloaded(path)
    prefix = _PARTS.sub("", path)
    if tf.io.gfile.exists(f"{prefix}.index"):
        yield prefix
    elif tf.io.gfile.isdir(path):
        yield _in_folder(path, source)
    elif tf.io.gfile.exists(path):
        with tempfile.TemporaryDirectory() as folder:
            _unpack(path, folder, source)
            yield _in_folder(folder, source)
    else:
        raise ConfigError(
            f"init_checkpoint is {source!r}, and nothing is there. Give a checkpoint's folder, its prefix (the path "
            f"without .index), or a .tar.gz that holds it."
        )


def _downloaded(address: str) -> str:
    # Keras's cache goes by the file's name alone, and two addresses may end in the same one.
    parts = urllib.parse.urlparse(address)
    folder = os.path.join("tf_frozen", parts.netloc.replace(":", "_"), *parts.path.split("/")[:-1])
    try:
        return keras.utils.get_file(os.path.basename(parts.path), address, cache_subdir=folder)
    except Exception as error:  # Keras raises a bare Exception where it cannot download
        raise ConfigError(
            f"init_checkpoint {address} cannot be downloaded: {error}. Download it by hand, on another machine if this "
            f"one is offline, and give the path of the .tar.gz as init_checkpoint (INIT_CHECKPOINT)."
        ) from error


def _in_folder(folder: str, source: str) -> str:
    """The checkpoint that the folder's `checkpoint` file calls the latest, or its only one."""
    latest = tf.train.latest_checkpoint(folder)
    if latest is not None:
        return latest
    found = sorted(path.removesuffix(".index") for path in tf.io.gfile.glob(os.path.join(folder, "*.index")))
    if len(found) != 1:
        names = ", ".join(os.path.basename(path) for path in found) or "none"
        raise ConfigError(
            f"init_checkpoint is {source!r}, which must hold one checkpoint or a file `checkpoint` that names the "
            f"latest; its checkpoints: {names}. Give the prefix of one."
        )
    return found[0]


def _unpack(archive: str, folder: str, source: str) -> None:
    """Writes the archive's checkpoint files to the folder by their bare names, so that none can leave it."""
    try:
        with tarfile.open(archive) as members:
            for member in members:
                name = os.path.basename(member.name)
                if member.isfile() and (name == "checkpoint" or _PARTS.search(name)):
                    # 'x': two files of one name would make one checkpoint out of two.
                    with members.extractfile(member) as stored, open(os.path.join(folder, name), "xb") as file:
                        shutil.copyfileobj(stored, file)
    except FileExistsError as error:
        raise ConfigError(
            f"init_checkpoint {source!r} holds several files {name!r}. Unpack it and give the prefix of one checkpoint."
        ) from error
    except _ARCHIVE_ERRORS as error:
        reason = str(error).split(":\n")[0]  # what follows says it of each compression
        raise ConfigError(
            f"init_checkpoint {source!r} cannot be unpacked as a tar archive: {reason}. If {archive} was cut short on "
            f"its way, delete it and fetch it again."
        ) from error
