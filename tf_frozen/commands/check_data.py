"""`tf-frozen check-data`: reports faults, warnings and a summary of annotations and images before any training."""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
from collections.abc import Iterator, Sequence

HELP = "list the faults of a COCO JSON and its images, and sum them up; exit 1 for faults, 2 if they are missing"
EXAMPLE = "tf-frozen check-data --annotations my/train.json --images my/photos"

_ROWS_SHOWN = 200
_FRAME = (640, 640)  # of runs/train_on_coco_json.gin, which data are checked for
_MISSING = {"missing_json", "missing_images_folder", "missing_embedded"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of the command."""
    parser.add_argument("--annotations", required=True, help="COCO JSON, or embedded:neon_trees/train.json")
    parser.add_argument("--images", required=True, help="folder that the JSON's file names start from")
    parser.add_argument("--masks", action="store_true", help="every annotation must have a usable segmentation too")
    parser.add_argument(
        "--clip_boxes",
        action="store_true",
        help="accept boxes that reach beyond their images, as training does with CocoJson.clip_boxes = True",
    )
    parser.add_argument("--json", action="store_true", help="print faults, warnings and summary as one JSON object")


def run(args: argparse.Namespace) -> int:
    """Prints faults, warnings and a summary; returns 2 if JSON or folder are missing, 1 for other faults, else 0."""
    from tf_frozen.data import faults
    from tf_frozen.data.checks.inspection import inspect
    from tf_frozen.data.num_detections import detections_for, most_objects
    from tf_frozen.data.suggestion import FIT, suggest_for
    from tf_frozen.data.summary import summarize, table

    with _without_progress() if args.json else contextlib.nullcontext():
        found = inspect(args.annotations, args.images, masks=args.masks, clip_boxes=args.clip_boxes)
    code = 2 if any(fault.kind in _MISSING for fault in found.faults) else int(bool(found.faults))
    rows = found.document.get("annotations", [])
    by_default = detections_for(most_objects(rows))
    summary = summarize(rows, found.places, found.categories, _FRAME, by_default)
    if args.json:
        lists = {"faults": found.faults, "warnings": found.warnings}
        content = {name: [fault.as_dict() for fault in rows] for name, rows in lists.items()}
        print(json.dumps(content | {"summary": summary.as_dict()}, indent=2, allow_nan=False))
        return code
    print(f"{_count(len(found.faults), 'fault')} in {args.annotations} with the images of {args.images}.")
    if found.faults:
        print(faults.describe(found.faults, _ROWS_SHOWN))
    if found.warnings:
        print(f"{_count(len(found.warnings), 'warning')}:\n{faults.describe(found.warnings, _ROWS_SHOWN)}")
    if len(found.faults) > _ROWS_SHOWN:
        print("All of them: the same command with --json")
    if any(fault.kind == "box_outside_image" for fault in found.faults):
        print("See what clipping leaves: the same command with --clip_boxes")
    print(table({"": summary}))
    suggestion = None if found.faults else suggest_for(rows, found.places)
    if suggestion:
        print(_lines_to_copy(suggestion.small_object, suggestion.gin_params, FIT))
    return code


@contextlib.contextmanager
def _without_progress() -> Iterator[None]:
    """Keeps standard output for the JSON alone: progress is shown there."""
    logger = logging.getLogger("tf_frozen.progress")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


def _lines_to_copy(small_object: float, gin_params: Sequence[str], gin_file: str) -> str:
    lines = "".join(f"\n  --gin_param '{param}'" for param in gin_params)
    small = f"For boxes of these sizes (a tenth of them are below {small_object:.0f} px then):"
    return f"{small}{lines}\nThe same, computed when a run starts:\n  --gin_file {gin_file}"


def _count(number: int, noun: str) -> str:
    return f"{number or 'No'} {noun if number == 1 else noun + 's'}"
