"""`tf-frozen score`: scores any COCO results file."""

from __future__ import annotations

import argparse
import json
import sys

from tf_frozen.errors import DataError

HELP = "score a COCO results JSON against its annotations"
EXAMPLE = "tf-frozen score --annotations val.json --results results.json --metric coco"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("--annotations", required=True, metavar="A", help="COCO JSON with the true boxes, and masks")
    parser.add_argument(
        "--results", required=True, metavar="R", help="JSON list of rows {image_id, category_id, bbox, score}"
    )
    parser.add_argument("--metric", choices=["coco"], default="coco", help="metric (default: coco)")
    parser.add_argument(
        "--masks", action="store_true", help="score the rows' segmentation too, polygons or RLE; rows then need no bbox"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def run(args: argparse.Namespace) -> None:
    """Print the figures; DataError when a file is missing, broken, or not what it should be."""
    from tf_frozen.data.sources import coco_file
    from tf_frozen.evaluation import coco_reasons, report
    from tf_frozen.evaluation.metrics.coco import CocoBoxes, CocoMasks

    metric = CocoMasks() if args.masks else CocoBoxes()
    ground_truth, results = coco_file.read(args.annotations), coco_file.load(args.results)
    try:
        metrics, per_class = metric.evaluate(ground_truth, results)
        warnings = coco_reasons.check_conventions(ground_truth, results)
    except DataError as error:
        files = f"Ground truth: {args.annotations}\nResults: {args.results}"
        raise DataError(f"{error}\n{files}", error.faults) from error
    warnings += coco_reasons.reasons(ground_truth, results)
    if args.json:
        print(json.dumps({"metrics": metrics, "per_class": per_class, "warnings": warnings}, indent=2))
        return
    print(report.table(metrics, per_class, metric.meanings))
    for warning in warnings:
        print(f"Warning: {warning}", file=sys.stderr)
