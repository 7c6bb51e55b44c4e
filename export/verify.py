"""Verifies that a SavedModel detects the same as its detector did, in a process without this package."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from tf_frozen.data.category import Category
from tf_frozen.data.images import read
from tf_frozen.errors import RunError
from tf_frozen.export import fresh_process
from tf_frozen.export.serving_module import ServingModule
from tf_frozen.export.signature import Detections, from_outputs
from tf_frozen.keras_flavor import keras

# The same kernels on the same processor: only the order of float32 sums may differ between the two graphs.
BOX_TOLERANCE = 1e-3  # pixels of the original; of an image longer than 1000 pixels, a millionth of its length
SCORE_TOLERANCE = 1e-5
MASK_TOLERANCE = 1e-4  # probability; a mask is read where the box is, whose own tolerance moves it
_KEYS = ("boxes", "scores", "classes", "masks")  # the last where the detector finds masks


def detections(
    detector: keras.Model, categories: Sequence[Category], images: Sequence[np.ndarray | str]
) -> list[Detections]:
    """Returns what `detector` finds on each image in this process, as `verify` expects it.

    Runs as a graph on the CPU, as in the fresh process: TensorFlow fuses the operations of a graph, so that
    eager results, or another device's, differ in the last digits, and by NMS sometimes in a whole box.

    Args:
      detector: a built detector.
      categories: class k of the detector is `categories[k - 1]`.
      images: uint8 RGB arrays [h, w, 3], or paths of image files.
    """
    detect = ServingModule(detector, categories).function()
    results = []
    for image in _arrays(images):
        with tf.device("/CPU:0"):
            found = from_outputs(detect(tf.constant(image[None])))
        results.append(Detections.of(found, 0, image.shape[:2]))
    return results


def verify(
    saved_model: str, images: Sequence[np.ndarray | str], expected: Sequence[Detections]
) -> dict[str, int | float]:
    """Loads `saved_model` in a fresh process without tf_frozen and compares its detections with `expected`.

    Args:
      saved_model: a folder that `export` wrote.
      images: uint8 RGB arrays [h, w, 3], or paths of image files.
      expected: what the detector gave for each, as `detections` returns it.

    Returns:
      How many `images` and `detections` agree, the largest `box_difference` (pixels), `score_difference` and, where
      there are masks, `mask_difference` (probability) among them, and the `peak_memory_bytes` of the process.

    Raises:
      RunError: the process failed, or a detection differs; the message shows both sides.
    """
    arrays = _arrays(images)
    found, peak_memory_bytes = run_alone(saved_model, arrays)
    gaps = [compare(*rows, image) for image, rows in enumerate(zip(found, expected, strict=True))]
    kinds = ("box", "score", "mask")[: len(gaps[0])] if gaps else ("box", "score")
    largest = np.max(gaps, axis=0, initial=0.0) if gaps else np.zeros(len(kinds))
    return {
        "images": len(arrays),
        "detections": sum(len(rows.scores) for rows in found),
        **{f"{kind}_difference": float(gap) for kind, gap in zip(kinds, largest, strict=True)},
        "peak_memory_bytes": peak_memory_bytes,
    }


def run_alone(saved_model: str, images: Sequence[np.ndarray]) -> tuple[list[Detections], int]:
    """Returns the detections and the peak memory (bytes) of a new process that can't import tf_frozen, on the CPU.

    Raises:
      RunError: the process failed; the message has its last lines.
    """
    program = Path(fresh_process.__file__).read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        np.savez(os.path.join(folder, "images.npz"), **{str(i): image for i, image in enumerate(images)})
        arguments = [os.path.abspath(saved_model), "images.npz", "detections.npz"]
        # A GPU would be out of reach: this process holds its memory.
        environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "2"}
        command = [sys.executable, "-c", program, *arguments]
        process = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        if process.returncode:
            last = "\n".join(process.stderr.strip().splitlines()[-8:])
            raise RunError(
                f"The SavedModel {saved_model} does not run in a process that has only TensorFlow and NumPy "
                f"(exit code {process.returncode}). Its last lines:\n{last}"
            )
        with np.load(os.path.join(folder, "detections.npz")) as rows:
            names = [[key for key in _KEYS if f"{key}_{i}" in rows.files] for i in range(len(images))]
            found = [
                Detections(image_size=image.shape[:2], **{key: rows[f"{key}_{i}"] for key in names[i]})
                for i, image in enumerate(images)
            ]
            return found, int(rows["peak_memory_bytes"])


def compare(found: Detections, expected: Detections, image: int = 0) -> tuple[float, ...]:
    """Returns the largest box, score and, if any, mask difference between the closest pairs of two sets of detections.

    Sets, since two detections of nearly equal scores may come in either order.

    Args:
      found: what the SavedModel gave.
      expected: what the detector gave.
      image: its number, for the message.

    Raises:
      RunError: a detection of one side has none of its class within the tolerances on the other.
    """
    where = f"The reloaded SavedModel differs from the detector on image {image} of the comparison"
    counts = len(found.scores), len(expected.scores)
    if (found.masks is None) != (expected.masks is None):
        gives = "gives no masks" if found.masks is None else "gives masks, which the detector does not"
        raise RunError(f"{where}: it {gives}. Do not use it; export again.")
    if counts[0] != counts[1]:
        raise RunError(f"{where}: {counts[0]} detections instead of {counts[1]}. Do not use it; export again.")
    limits = {"boxes": BOX_TOLERANCE * max(1, max(expected.image_size) / 1000), "scores": SCORE_TOLERANCE}
    if found.masks is not None:
        limits["masks"] = MASK_TOLERANCE
    if not counts[0]:
        return (0.0,) * len(limits)
    gaps = {key: _gaps(getattr(found, key), getattr(expected, key)) for key in limits}
    close = found.classes[:, None] == expected.classes[None]
    close &= np.logical_and.reduce([gaps[key] <= limit for key, limit in limits.items()])
    box_gap = gaps["boxes"]
    for pairs, gap, here, there in ((close, box_gap, found, expected), (close.T, box_gap.T, expected, found)):
        alone = np.flatnonzero(~pairs.any(1))
        if alone.size:
            first, nearest = _row(here, alone[0]), _row(there, gap[alone[0]].argmin())
            ours, theirs = (first, nearest) if here is found else (nearest, first)
            raise RunError(f"{where}: {ours} instead of {theirs}. Do not use it; export again.")
    return tuple(float(np.where(close, gap, np.inf).min(1).max()) for gap in gaps.values())


def _gaps(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """The largest difference [n, m] between each of n rows and each of m, one of the n at a time: masks are large."""
    expected = expected.reshape([len(expected), -1])
    return np.stack([np.abs(row.reshape([1, -1]) - expected).max(-1) for row in found])


def _arrays(images: Sequence[np.ndarray | str]) -> list[np.ndarray]:
    return [image if isinstance(image, np.ndarray) else read(image) for image in images]


def _row(rows: Detections, index: int) -> str:
    box = ", ".join(f"{value:.4f}" for value in rows.boxes[index])
    mask = f" mask of {rows.masks[index].mean():.6f} on average" if rows.masks is not None else ""
    return f"class {rows.classes[index]} score {rows.scores[index]:.6f} box [{box}]{mask}"
