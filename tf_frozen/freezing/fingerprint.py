"""Fingerprints of variables: equal if and only if every bit is equal, in whatever process they are taken."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
import tensorflow as tf


def fingerprints(variables: Mapping[str, tf.Variable]) -> dict[str, str]:
    """The SHA-256 (hex) of each variable's dtype, shape and bytes, by the path it was given under."""
    return {path: _fingerprint(variable.numpy()) for path, variable in variables.items()}


def digest(fingerprints: Mapping[str, str]) -> str:
    """One SHA-256 (hex) over all paths and fingerprints, whatever their order."""
    total = hashlib.sha256()
    for path, fingerprint in sorted(fingerprints.items()):
        total.update(f"{path}\0{fingerprint}\n".encode())
    return total.hexdigest()


def _fingerprint(array: np.ndarray) -> str:
    total = hashlib.sha256(f"{array.dtype.name}{list(array.shape)}".encode())
    total.update(array.tobytes())
    return total.hexdigest()
