"""`tf-frozen train`: trains, scores and exports a detector."""

from __future__ import annotations

import argparse
import logging
import os
import shlex
import sys
import time
from typing import Any

HELP = "train a detector, score it, draw its predictions, and export it as a SavedModel"
EXAMPLE = """tf-frozen train --gin_file quickstart.gin --model_dir runs/quickstart
  tf-frozen train --gin_file runs/train_on_coco_json.gin --model_dir runs/mine \\
    --gin_param 'TRAIN_ANNOTATIONS = "train.json"' --gin_param 'TRAIN_IMAGES = "photos"' \\
    --gin_param 'VAL_ANNOTATIONS = "val.json"'     --gin_param 'VAL_IMAGES = "photos"'"""

_VERIFIED_IMAGES = 4
_LOGGER = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of the command."""
    parser.add_argument(
        "--gin_file",
        action="append",
        metavar="F",
        help="path or shipped name, repeatable (default: the config.gin of the run in --model_dir, which is resumed)",
    )
    parser.add_argument(
        "--gin_param",
        action="append",
        default=[],
        metavar="B",
        help="'NAME = value', repeatable; overrides files",
    )
    parser.add_argument(
        "--model_dir",
        required=True,
        metavar="DIR",
        help="the run's folder; training resumes if it holds a run",
    )
    parser.add_argument("--strict", action="store_true", help="stop when nothing uses a gin binding")


def run(args: argparse.Namespace) -> int:
    """Trains, scores, draws, exports, checks the export in a fresh process, and logs the paths of all results."""
    started = time.monotonic()
    from tf_frozen.config.load import load_config
    from tf_frozen.config.record import config_of
    from tf_frozen.training.run import Run

    load_config(args.gin_file or [config_of(args.model_dir)], args.gin_param)
    job = Run(args.model_dir)
    with job.directory.lock:
        if not job.train(strict=args.strict):
            return 130
        _finish(job, started)
    return 0


def _finish(job: Any, started: float) -> None:
    """Scores, draws and exports the trained detector; writes the figures to summary.json."""
    scorer = job.evaluate()
    _LOGGER.info("\nScores on the val split\n%s\n", scorer.table())
    scorer.write(job.directory.predictions)
    saved_model, export_memory = _export(job, scorer)
    parameters = job.parameters()
    summary = {
        "seconds": round(time.monotonic() - started, 1),
        "training_seconds": round(job.training_seconds, 1),
        "scoring_seconds": round(job.scoring_seconds, 1),
        "images_per_second": job.images_per_second and round(job.images_per_second, 2),
        "peak_memory_bytes": _peak_memory_bytes() + export_memory,
        "metrics": scorer.metrics,
        "seed": job.seed,
        "trainable_parameters": parameters["trainable"],
        "frozen_parameters": parameters["frozen"],
        "saved_model": saved_model,
    }
    job.directory.write_summary(summary)
    _LOGGER.info("%s", _where(job.directory, summary))


def _export(job: Any, scorer: Any) -> tuple[str, int]:
    """Exports and compares detections in a new process with the detector's; returns folder and peak memory in bytes."""
    from tf_frozen.export.saved_model import export
    from tf_frozen.export.verify import detections, verify

    detector = scorer.detector
    folder = export(detector, job.categories, str(job.directory.saved_model), job.magnification)
    images = scorer.images(_VERIFIED_IMAGES)
    same = verify(folder, images, detections(detector, job.categories, images))
    _LOGGER.info(
        "The SavedModel, reloaded without tf_frozen, gives the same %d detections on %d images: boxes within %.2g "
        "pixels, scores within %.2g%s.",
        same["detections"],
        same["images"],
        same["box_difference"],
        same["score_difference"],
        f", masks within {same['mask_difference']:.2g}" if "mask_difference" in same else "",
    )
    return folder, same["peak_memory_bytes"]


def _peak_memory_bytes() -> int:
    """The peak memory of this process."""
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _where(directory: Any, summary: dict[str, Any]) -> str:
    from tf_frozen.training.run_directory import FREEZING, SUMMARY

    python = min(sys.executable, os.path.relpath(sys.executable), key=len)
    rows = {
        directory.predictions: "drawn pictures and results.json",
        directory.saved_model: "the detector, for TensorFlow anywhere",
        directory.tensorboard: shlex.join([python, "-m", "tensorboard.main", "--logdir", str(directory.tensorboard)]),
        directory.checkpoints: "to resume from",
        directory.path / FREEZING: "fingerprints of what stayed frozen",
        directory.path / SUMMARY: "these figures",
    }
    width = len(str(directory.path)) + 16
    lines = [f"  {str(path):<{width}} {what}" for path, what in rows.items()]
    minutes, gigabytes = summary["seconds"] / 60, summary["peak_memory_bytes"] / 1e9
    rate = summary["images_per_second"]
    trained = f"{rate:.1f} images/s in training, " if rate else ""  # a run that had no step left has none
    done = f"\nDone in {minutes:.1f} minutes, {trained}{gigabytes:.1f} GB of memory at most."
    return "\n".join([done, *_scoring(summary), *lines])


def _scoring(summary: dict[str, Any]) -> list[str]:
    """Returns the share of training time that scoring took; empty if the run was not scored before its end."""
    scoring, training = summary["scoring_seconds"], summary["training_seconds"]
    if not scoring:
        return []
    share = f"{scoring / 60:.1f} of {training / 60:.1f} minutes, {100 * scoring / training:.0f} %"
    return [f"Scoring while training took {share}."]
