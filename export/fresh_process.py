"""Runs a SavedModel with nothing but TensorFlow and NumPy; `verify` starts this as a process of its own.

python fresh_process.py SAVED_MODEL IMAGES.npz DETECTIONS.npz
"""

import sys


def main(saved_model: str, images_path: str, detections_path: str) -> None:
    """Detects on the images '0', '1', … of an npz; writes 'boxes_0', 'scores_0', 'classes_0' and so on."""
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
            for key in ("boxes", "scores", "classes"):
                detections[f"{key}_{name}"] = found[f"detection_{key}"][0, :count].numpy()
    np.savez(detections_path, **detections)


if __name__ == "__main__":
    main(*sys.argv[1:])
