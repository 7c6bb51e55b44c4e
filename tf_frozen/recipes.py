"""Builds the detectors of the shipped gin files in Python."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import gin

from tf_frozen.config.configuration import Configuration
from tf_frozen.config.explained import explained
from tf_frozen.config.load import load_config
from tf_frozen.detectors.detector import Detector
from tf_frozen.training.run import Run  # gin has to know it before a file binds its parameters
from tf_frozen.training.run_config import RECIPE


def cascade_rcnn(backbone: str = "efficientnet_lite0", *, num_classes: int, **settings: Any) -> Detector:
    """Cascade R-CNN with FPN, as `runs/train_on_coco_json.gin` builds it; see `detector` for the arguments."""
    return detector(RECIPE, backbone, num_classes, **settings)


def mask_rcnn(backbone: str = "efficientnet_lite0", *, num_classes: int, **settings: Any) -> Detector:
    """Cascade Mask R-CNN with FPN, as `runs/train_masks_on_coco_json.gin` builds it; see `detector`."""
    return detector("runs/train_masks_on_coco_json.gin", backbone, num_classes, **settings)


def retinanet(backbone: str = "efficientnet_lite0", *, num_classes: int, **settings: Any) -> Detector:
    """RetinaNet with FPN, as `runs/small_retinanet.gin` builds it; see `detector` for the arguments."""
    return detector("runs/small_retinanet.gin", backbone, num_classes, **settings)


def detector(
    gin_file: str,
    backbone: str,
    num_classes: int,
    neck: str | None = None,
    frame: tuple[int, int] | None = None,
    mode: str | None = None,
    detections: int = 100,
    gin_params: Sequence[str] = (),
) -> Detector:
    """The detector of a runnable gin file, in which these parts replace its own.

    `backbone` and `neck` are gin files of `backbones/` and `necks/` without their suffix (`tf-frozen configs` lists
    them), `frame` is (height, width) in pixels, `mode` the backbone's and `detections` the most in an image.
    `gin_params`, as 'FPN.filters = 128', win over all. Raises ConfigError for an unknown name, with the nearest ones.
    """
    files = [gin_file, f"backbones/{backbone}.gin", *([f"necks/{neck}.gin"] if neck else [])]
    macros = {"NUM_CLASSES": num_classes, "FRAME": frame, "BACKBONE_MODE": mode, "DETECTIONS": detections}
    params = [f"{name} = {value!r}" for name, value in macros.items() if value is not None]
    with Configuration().active(), explained():
        load_config(files, [*params, *gin_params])
        new = copy.deepcopy(gin.get_bindings(Run, resolve_references=False)["detector"])
        return new()
