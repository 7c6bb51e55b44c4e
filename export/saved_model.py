"""Writes a detector as a SavedModel that takes images of any size and needs nothing of this package."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from tf_frozen import __version__
from tf_frozen.backbones.residual_adapters import adapted_convs, folded
from tf_frozen.data.category import Category
from tf_frozen.errors import RunError
from tf_frozen.export.serving_module import ServingModule
from tf_frozen.export.signature import ABOUT, CLASSES
from tf_frozen.files import write_error
from tf_frozen.graph_function import GraphFunction
from tf_frozen.keras_flavor import keras

_CONTENTS = {"saved_model.pb", "fingerprint.pb", "variables", "assets", "assets.extra"}


def export(
    detector: keras.Model,
    categories: Sequence[Category],
    output: str,
    magnification: Mapping[str, Any] | None = None,
) -> str:
    """Writes `detector` as a SavedModel and returns its folder as an absolute path.

    The folder appears under its name only when all of it is written. A SavedModel that this function wrote
    earlier is replaced. The signatures `serving_default` (`images`) and `image_bytes` are `ServingModule`'s methods.

    Args:
      detector: a built detector.
      categories: class k of the detector is `categories[k - 1]`.
      output: the folder to write.
      magnification: what `magnification.of_training` gave, which the SavedModel keeps for `Predictor` to compare with.

    Raises:
      RunError: `output` holds something else, or cannot be written.
    """
    target = Path(output).expanduser().absolute()
    _check_replaceable(target)
    partial = target.with_name(f".{target.name}.partial_export")
    try:
        shutil.rmtree(partial, ignore_errors=True)  # what a killed export left
        with folded(detector):
            _save(ServingModule(detector, categories), str(partial))
        _describe(detector, categories, magnification, partial)
        _rename(partial, target)
    except (OSError, tf.errors.OpError) as error:
        raise write_error(str(target), error) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return str(target)


def _check_replaceable(target: Path) -> None:
    if not target.exists():
        return
    names = {entry.name for entry in target.iterdir()} if target.is_dir() else {target.name}
    if names and not (names <= _CONTENTS and (target / ABOUT).is_file()):
        unknown = ", ".join(sorted(names - _CONTENTS)[:3]) or f"a SavedModel without {ABOUT}"
        raise RunError(
            f"Will not write a SavedModel to {target}: it holds what tf-frozen did not export ({unknown}). "
            "Choose a folder that does not exist yet, an empty one, or an earlier export."
        )


def _save(server: ServingModule, folder: str) -> None:
    image_bytes = tf.TensorSpec((None,), tf.string, name="image_bytes")
    signatures = {
        "serving_default": server.function().get_concrete_function(),
        "image_bytes": GraphFunction(server.detect_bytes).get_concrete_function(image_bytes),
    }
    # Only the variables hang on the module: with the Keras model on it, TensorFlow would save the functions
    # of every layer beside the two that are served.
    module = tf.Module()
    module.served = list({id(v): v for f in signatures.values() for v in f.variables}.values())
    # Nobody trains through an export; tracing the gradients of its swishes takes as long as the rest of the save.
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    tf.saved_model.save(module, folder, signatures, options)


def _describe(
    detector: keras.Model, categories: Sequence[Category], magnification: Mapping[str, Any] | None, folder: Path
) -> None:
    adapters = {id(conv.adapter.kernel) for conv in adapted_convs(detector)}  # folded into other kernels
    about = {
        "tf_frozen": __version__,
        "tensorflow": tf.__version__,
        "image_size": list(detector.frame),
        "tiles": detector.tiles and {"magnification": detector.tiles.magnification, "overlap": detector.tiles.overlap},
        "magnification": magnification and dict(magnification),
        "parameters": sum(int(v.shape.num_elements()) for v in detector.variables if id(v) not in adapters),
    }
    (folder / ABOUT).parent.mkdir()
    (folder / ABOUT).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    classes = [{"id": int(category.id), "name": category.name} for category in categories]
    (folder / CLASSES).write_text(json.dumps(classes, indent=2) + "\n", encoding="utf-8")


def _rename(partial: Path, target: Path) -> None:
    old = target.with_name(f".{target.name}.old_export")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.rename(old)
    partial.rename(target)
    shutil.rmtree(old, ignore_errors=True)
