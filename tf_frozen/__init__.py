"""Train object detectors on frozen pretrained backbones, in TensorFlow and Keras."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from tf_frozen import export as export
    from tf_frozen.data.category import Category as Category
    from tf_frozen.data.example import Example as Example
    from tf_frozen.data.source import DataSource as DataSource
    from tf_frozen.data.sources.coco_json import CocoJson as CocoJson
    from tf_frozen.evaluation.metric import Metric as Metric
    from tf_frozen.evaluation.metrics.coco import CocoBoxes as CocoBoxes
    from tf_frozen.evaluation.metrics.coco import CocoMasks as CocoMasks
    from tf_frozen.export.predictor import Predictor as Predictor
    from tf_frozen.recipes import cascade_rcnn as cascade_rcnn
    from tf_frozen.recipes import mask_rcnn as mask_rcnn
    from tf_frozen.recipes import retinanet as retinanet
    from tf_frozen.training.callbacks.freezing_audit import FreezingAudit as FreezingAudit
    from tf_frozen.training.opening import load as load
    from tf_frozen.training.opening import open_run as open_run
    from tf_frozen.training.run import Run as Run

# The module of each name: it is imported, and TensorFlow with it, when the name is first used.
_MODULES = {
    "Category": "data.category",
    "CocoBoxes": "evaluation.metrics.coco",
    "CocoJson": "data.sources.coco_json",
    "CocoMasks": "evaluation.metrics.coco",
    "DataSource": "data.source",
    "Example": "data.example",
    "FreezingAudit": "training.callbacks.freezing_audit",
    "Metric": "evaluation.metric",
    "Predictor": "export.predictor",
    "Run": "training.run",
    "cascade_rcnn": "recipes",
    "load": "training.opening",
    "mask_rcnn": "recipes",
    "open_run": "training.opening",
    "retinanet": "recipes",
}


def __getattr__(name: str) -> Any:
    if name == "export":  # a package that can be called
        return importlib.import_module("tf_frozen.export")
    if name not in _MODULES:
        raise AttributeError(f"module 'tf_frozen' has no attribute {name!r}")
    return getattr(importlib.import_module(f"tf_frozen.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(["__doc__", "__version__", "export", *_MODULES])
