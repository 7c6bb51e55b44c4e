"""tf-frozen score: figures for any COCO results file."""

from __future__ import annotations

import argparse
import json
from typing import Any

from tf_frozen.errors import DataError

HELP = "score a COCO results JSON against its annotations"
EXAMPLE = "tf-frozen score --annotations val.json --results results.json --metric coco"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("--annotations", required=True, metavar="A", help="COCO JSON with the true boxes, and masks")
    parser.add_argument(
        "--results", required=True, metavar="R", help="JSON list of rows {image_id, category_id, bbox, score}"
    )
    parser.add_argument("--metric", choices=["coco"], default="coco", help="whose figures (default: coco)")
    parser.add_argument(
        "--masks", action="store_true", help="score the rows' segmentation too, polygons or run lengths"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def run(args: argparse.Namespace) -> None:
    """Print the figures; DataError when a file is missing, broken, or not what it should be."""
    from tf_frozen.evaluation import coco, report

    ground_truth, results = _read(args.annotations), _read(args.results)
    try:
        metrics, per_class = coco.evaluate(ground_truth, results, args.masks)
    except DataError as error:
        files = f"Ground truth: {args.annotations}\nResults: {args.results}"
        raise DataError(f"{error}\n{files}", error.faults) from error
    if args.json:
        print(json.dumps({"metrics": metrics, "per_class": per_class}, indent=2))
    else:
        print(report.table(metrics, per_class))


def _read(path: str) -> Any:
    from tf_frozen.data.paths import resolve

    try:
        with open(resolve(path), encoding="utf-8") as file:
            return json.load(file)
    except FileNotFoundError as error:
        raise DataError(f"{path}: there is no such file.") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise DataError(f"{path}: is not JSON: {error}.") from error
