"""Runs a SavedModel with nothing but TensorFlow and NumPy; `verify` starts this as a separate process.

python fresh_process.py SAVED_MODEL IMAGES.npz DETECTIONS.npz
"""

import sys


def main(saved_model: str, images_path: str, detections_path: str) -> None:
    """Detects on an npz's images '0', '1', …; writes 'boxes_0', 'scores_0' and so on, and the memory that it took."""
    for package in ("tf_frozen", "tf_keras", "official"):
        sys.modules[package] = None  # Python refuses to import a module that is None here
    import numpy as np
    import tensorflow as tf

    model = tf.saved_model.load(saved_model)
    detect = model.signatures["serving_default"]
    detections = {}
    with np.load(images_path) as images:
        for name in images.files:
            found = detect(images=tf.constant(images[name][None]))
            count = int(found["num_detections"][0])
            for key, values in found.items():
                if key.startswith("detection_"):
                    detections[f"{key.removeprefix('detection_')}_{name}"] = values[0, :count].numpy()
    np.savez(detections_path, peak_memory_bytes=_peak_memory_bytes(), **detections)


def _peak_memory_bytes() -> int:
    # Linux starts a child's ru_maxrss at its parent's; the high-water mark of its memory is its own.
    try:
        with open("/proc/self/status", encoding="ascii") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    main(*sys.argv[1:])
