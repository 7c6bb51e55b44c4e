"""`tf-frozen predict`: detects on image files, draws the boxes and writes COCO results."""

from __future__ import annotations

import argparse
import logging
import os
from typing import Any

HELP = "detect on image files; writes drawn pictures and predictions.json"
EXAMPLE = "tf-frozen predict --model runs/quickstart --images 'photos/*.jpg' --output predictions"

_LOG = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this command."""
    parser.add_argument("--model", required=True, metavar="DIR", help="a SavedModel or a run directory")
    parser.add_argument("--images", required=True, nargs="+", metavar="PATH", help="image files, folders or globs")
    parser.add_argument(
        "--output",
        required=True,
        metavar="DIR",
        help="folder for pictures and predictions.json (until it is complete, predictions.partial.jsonl: a row a line)",
    )
    parser.add_argument(
        "--score_threshold",
        type=float,
        default=0.3,
        metavar="S",
        help="lowest score, 0 to 1, that is drawn and written (default 0.3; 0 to score the results)",
    )
    parser.add_argument("--annotations", metavar="A", help="COCO JSON whose image ids to write (default: file names)")


def run(args: argparse.Namespace) -> int:
    """Returns 0, or 1 when an image could not be read."""
    from tf_frozen.errors import DataError
    from tf_frozen.export import image_files, pictures
    from tf_frozen.export.predictor import Predictor

    if not 0 <= args.score_threshold <= 1:
        raise DataError(f"--score_threshold {args.score_threshold} is not a score: give a number from 0 to 1.")
    names = image_files.find(args.images, ignore=args.output)
    paths = list(names)
    ids = image_files.ids(paths, args.annotations) if args.annotations else names
    predictor = Predictor(_model(args.model))
    writer = pictures.PredictionWriter(args.output, names, predictor.names, ids)
    rows, failures = predictor.predict(paths, ids, args.score_threshold, show=writer.add)
    written = writer.write_results(rows)
    read = len(paths) - len(failures)
    counts = f"{len(rows)} box{'es' * (len(rows) != 1)} on {read} image{'s' * (read != 1)}"
    _LOG.info("%s: %s", counts, written)
    for path, message in failures.items():
        _LOG.error("Not read: %s: %s", path, message)
    return 1 if failures else 0


def _model(folder: str) -> Any:
    """The folder of a SavedModel, or the run in it where that was not exported."""
    folder = os.path.expanduser(folder)
    if os.path.isfile(os.path.join(folder, "config.gin")) and not os.path.isdir(os.path.join(folder, "saved_model")):
        from tf_frozen.training.opening import open_run

        return open_run(folder)
    return folder
