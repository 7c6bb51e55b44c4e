"""Records versions, devices and command line, so that a run can be repeated."""

from __future__ import annotations

import platform
import sys
from importlib import metadata
from typing import Any

import tensorflow as tf

_PACKAGES = ("tensorflow", "tf-keras", "tf-models-official", "gin-config", "pycocotools", "numpy")


def environment() -> dict[str, Any]:
    """Versions, devices and the command line, ready for JSON."""
    return {
        "command": sys.argv,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: metadata.version(name) for name in _PACKAGES},
        "devices": [device.name for device in tf.config.list_logical_devices()],
    }
