r"""Times training steps and detection of tf_frozen and of Model Garden on one architecture, in turns in one process.

Both train on 2 images of 256 × 256 pixels, 8 boxes each padded to 100, in float32 with SGD and momentum, random
weights, batch norms not synchronised, as a graph without XLA; 'detecting' is the function that is exported, on one
image of 640 × 640 pixels. Prints seconds a step (median, least, most), their ratios by round, the seconds until the
first step is done, and with `--memory` the peak memory of a process that runs one kind alone. A quiet machine is
needed:

  python benchmarks/model_garden.py retinanet faster_rcnn cascade_nasfpn --rounds 6 --memory
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

BATCH, BOXES, PADDED, CLASSES = 2, 8, 100, 80
SIDES = {"frozen": 256, "fine-tuned": 256, "detecting": 640}
KINDS = tuple(f"{who} {mode}" for mode in SIDES for who in ("ours", "theirs"))
RATIOS = (
    ("ours frozen", "theirs frozen"),
    ("ours fine-tuned", "theirs fine-tuned"),
    ("ours detecting", "theirs detecting"),
    ("ours frozen", "ours fine-tuned"),
    ("theirs frozen", "theirs fine-tuned"),
)
_PAPER = ["papers/proper_reuse/parts/two_stage.gin", "norms/batch_norm.gin", "backbones/resnet50.gin"]
_ONE_STAGE = ["papers/proper_reuse/parts/coco_run.gin", *_PAPER[1:], "necks/fpn_3_7.gin"]
GIN_FILES = {
    "retinanet": [*_ONE_STAGE, "heads/retinanet.gin", "detectors/retinanet.gin"],
    "faster_rcnn": [*_PAPER, "necks/fpn.gin", "heads/box_head.gin"],
    "cascade_nasfpn": [*_PAPER, "necks/nas_fpn.gin", "heads/box_cascade.gin"],
}


class Scene(NamedTuple):
    """A batch: images uint8 [B, S, S, 3], corners [B, n, 4] as y1, x1, y2, x2 in fractions, classes [B, n] from 1."""

    images: np.ndarray
    corners: np.ndarray
    classes: np.ndarray


class Trainer(NamedTuple):
    """A step to call, and how long it took to build it and run it once."""

    step: Callable[[], Any]
    start: float


def main() -> None:
    """Parses the flags and prints the figures of each architecture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("architectures", nargs="+", choices=GIN_FILES)
    parser.add_argument("--rounds", type=int, default=6, help="turns, of two steps each")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--memory", action="store_true", help="also the peak memory of each kind in its own process")
    args = parser.parse_args()
    for architecture in args.architectures:
        if args.rounds:
            compare(architecture, args.kinds, args.rounds)
        for kind in args.kinds if args.memory or not args.rounds else ():
            print(f"{architecture}, {kind}: peak memory {peak_memory(architecture, kind):.2f} GB", flush=True)


def compare(architecture: str, kinds: list[str], rounds: int) -> None:
    """Prints the seconds of a step of each kind, measured in turns, and the ratios."""
    trainers = {kind: built(architecture, kind) for kind in kinds}
    seconds: dict[str, list[float]] = {kind: [] for kind in kinds}
    for _ in range(rounds):
        for kind, trainer in trainers.items():
            started = time.perf_counter()
            trainer.step()
            trainer.step()
            seconds[kind].append((time.perf_counter() - started) / 2)
    for kind, trainer in trainers.items():
        print(f"{architecture}, {kind}: {_spread(seconds[kind])} s a step, first one after {trainer.start:.1f} s")
    for one, other in RATIOS:
        if {one, other} <= seconds.keys():
            ratios = [a / b for a, b in zip(seconds[one], seconds[other], strict=True)]
            print(f"{architecture}, {one} / {other}: {_spread(ratios)}", flush=True)


def peak_memory(architecture: str, kind: str) -> float:
    """Gigabytes that a new process holds at most which runs five steps of one kind."""
    command = [sys.executable, __file__, "--one", architecture, kind]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def built(architecture: str, kind: str) -> Trainer:
    """The training step of 'ours' or 'theirs', run once."""
    import tensorflow as tf

    who, mode = kind.split()
    started = time.perf_counter()
    step, batch = (ours if who == "ours" else theirs)(architecture, mode, scene(SIDES[mode]))

    def run() -> list[np.ndarray]:
        return [output.numpy() for output in tf.nest.flatten(step(batch))]

    run()
    return Trainer(run, time.perf_counter() - started)


def scene(side: int) -> Scene:
    """The same boxes and pixels for both."""
    draw = np.random.default_rng(0)
    near = draw.uniform(0, 0.7, [BATCH, BOXES, 2])
    corners = np.concatenate([near, near + draw.uniform(0.05, 0.3, [BATCH, BOXES, 2])], 2).astype(np.float32)
    classes = draw.integers(1, CLASSES, [BATCH, BOXES])
    return Scene(draw.integers(0, 255, [BATCH, side, side, 3]).astype(np.uint8), corners, classes)


def ours(architecture: str, mode: str, scene: Scene) -> tuple[Callable, Any]:
    """What runs in that mode, of the detector of the paper's gin files, and what it is given."""
    import tensorflow as tf

    import tf_frozen as tff
    from tf_frozen.data.category import Category
    from tf_frozen.detectors.rcnn import RCNN
    from tf_frozen.detectors.single_stage import SingleStage
    from tf_frozen.export.serving_module import ServingModule
    from tf_frozen.graph_function import GraphFunction
    from tf_frozen.keras_flavor import keras

    side, trains = SIDES[mode], "scratch" if mode == "fine-tuned" else "frozen_random"
    params = [f"BACKBONE_MODE = '{trains}'", "INIT_CHECKPOINT = None", f"FRAME = ({side}, {side})", "SEED = 0"]
    files = ["schedules/short_run.gin", *GIN_FILES[architecture]]  # a run needs a schedule, which nothing here follows
    params += ["ResNet.use_sync_bn = False", "ResNet.activation = 'swish'", f"NUM_CLASSES = {CLASSES}"]
    params += [f"{split}_{what} = 'unused'" for split in ("TRAIN", "VAL") for what in ("ANNOTATIONS", "IMAGES")]
    with tff.load(files, params, model_dir="unused").configuration.active():
        detector = (SingleStage if architecture == "retinanet" else RCNN)()
    if mode == "detecting":
        server = ServingModule(detector, [Category(number, str(number)) for number in range(1, CLASSES + 1)])
        return server.function(), tf.constant(scene.images[:1])
    detector.compile(keras.optimizers.SGD(1e-4, momentum=0.9))

    def padded(rows: np.ndarray) -> np.ndarray:
        return np.pad(rows, [(0, 0), (0, PADDED - BOXES), *[(0, 0)] * (rows.ndim - 2)])

    targets = {
        "boxes": tf.constant(padded(scene.corners * side), tf.float32),
        "classes": tf.constant(padded(scene.classes), tf.int32),
        "image_size": tf.constant([[side, side]] * BATCH, tf.float32),
        "scale": tf.ones([BATCH]),
        "image_index": tf.zeros([BATCH], tf.int64),
    }
    return GraphFunction(detector.train_step), (tf.constant(scene.images, tf.float32), targets)


def theirs(architecture: str, mode: str, scene: Scene) -> tuple[Callable, Any]:
    """What runs in that mode, of Model Garden's `official.vision` for the same architecture, and what it is given."""
    import tensorflow as tf
    from official.core import config_definitions
    from official.vision.configs import backbones, common, decoders
    from official.vision.serving.detection import DetectionModule

    from tf_frozen.keras_flavor import keras

    side, frozen = SIDES[mode], mode != "fine-tuned"
    backbone = backbones.Backbone(type="resnet", resnet=backbones.ResNet(model_id=50))
    fpn = decoders.Decoder(type="fpn", fpn=decoders.FPN())
    parts = {"backbone": backbone, "norm_activation": common.NormActivation(activation="swish", use_sync_bn=False)}
    if architecture == "retinanet":
        task, parse = _their_retinanet({**parts, "decoder": fpn}, frozen, side)
    else:
        nas_fpn = decoders.Decoder(type="nasfpn", nasfpn=decoders.NASFPN())
        cascade = architecture == "cascade_nasfpn"
        task, parse = _their_rcnn({**parts, "decoder": nas_fpn if cascade else fpn}, frozen, side, cascade)
    if mode == "detecting":
        params = config_definitions.ExperimentConfig(task=task.task_config)
        module = DetectionModule(params=params, batch_size=1, input_image_size=[side, side])
        return tf.function(module.serve), tf.constant(scene.images[:1])
    network = task.build_model()
    rows = [
        parse(
            {
                "image": tf.constant(image),
                "source_id": tf.constant("1"),
                "height": tf.constant(side, tf.int64),
                "width": tf.constant(side, tf.int64),
                "groundtruth_classes": tf.constant(classes, tf.int64),
                "groundtruth_boxes": tf.constant(corners),
                "groundtruth_is_crowd": tf.zeros([BOXES], tf.bool),
                "groundtruth_area": tf.ones([BOXES]),
            }
        )
        for image, corners, classes in zip(*scene, strict=True)
    ]
    optimizer = keras.optimizers.SGD(1e-4, momentum=0.9)
    step = tf.function(lambda batch: task.train_step(batch, network, optimizer, None))
    return step, tf.nest.map_structure(lambda *parts: tf.stack(parts), *rows)


def _their_retinanet(parts: dict[str, Any], frozen: bool, side: int) -> tuple[Any, Callable]:
    from official.vision.configs import retinanet as configs
    from official.vision.dataloaders import retinanet_input
    from official.vision.tasks import retinanet as tasks

    levels = {"min_level": 3, "max_level": 7}
    size = [side, side]
    model = configs.RetinaNet(num_classes=CLASSES + 1, input_size=[*size, 3], **parts, **levels)
    anchors = {name: getattr(model.anchor, name) for name in ("num_scales", "aspect_ratios", "anchor_size")}
    parser = retinanet_input.Parser(output_size=size, dtype="float32", **anchors, **levels)
    return tasks.RetinaNetTask(configs.RetinaNetTask(model=model, freeze_backbone=frozen)), parser.parse_fn(True)


def _their_rcnn(parts: dict[str, Any], frozen: bool, side: int, cascade: bool) -> tuple[Any, Callable]:
    from official.vision.configs import maskrcnn as configs
    from official.vision.dataloaders import maskrcnn_input
    from official.vision.tasks import maskrcnn as tasks

    levels = {"min_level": 3, "max_level": 7} if cascade else {"min_level": 2, "max_level": 6}
    size = [side, side]
    head = configs.DetectionHead(num_fcs=2, class_agnostic_bbox_pred=cascade, cascade_class_ensemble=cascade)
    model = configs.MaskRCNN(
        num_classes=CLASSES + 1,
        input_size=[*size, 3],
        include_mask=False,
        mask_head=None,
        mask_sampler=None,
        mask_roi_aligner=None,
        detection_head=head,
        roi_sampler=configs.ROISampler(cascade_iou_thresholds=[0.7, 0.8] if cascade else None),
        **parts,
        **levels,
    )
    anchors = {"num_scales": 1, "aspect_ratios": [0.5, 1.0, 2.0], "anchor_size": 8.0}
    masks = {"include_mask": False, "mask_crop_size": 112}
    parser = maskrcnn_input.Parser(output_size=size, dtype="float32", **anchors, **masks, **levels)
    return tasks.MaskRCNNTask(configs.MaskRCNNTask(model=model, freeze_backbone=frozen)), parser.parse_fn(True)


def _run_one(architecture: str, kind: str) -> None:
    trainer = built(architecture, kind)
    for _ in range(4):
        trainer.step()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6)


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):.3f} ({min(values):.3f} to {max(values):.3f})"


if __name__ == "__main__":
    os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    if sys.argv[1:2] == ["--one"]:
        _run_one(*sys.argv[2:])
    else:
        main()
