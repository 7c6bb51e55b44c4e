"""The command check-data: every fault of annotations and images, before any training."""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
from collections.abc import Iterator

HELP = "list every fault of a COCO JSON and its images; exit 1 if there is any"
EXAMPLE = "tf-frozen check-data --annotations my/train.json --images my/photos"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of the command."""
    parser.add_argument("--annotations", required=True, help="COCO JSON, or embedded:neon_trees/train.json")
    parser.add_argument("--images", required=True, help="folder that the JSON's file names start from")
    parser.add_argument("--masks", action="store_true", help="every annotation must have a usable segmentation too")
    parser.add_argument("--json", action="store_true", help="print the faults as one JSON object")


def run(args: argparse.Namespace) -> int:
    """Prints the faults, or one line that counts what was checked; returns 1 if there are faults, else 0."""
    from tf_frozen.data import faults
    from tf_frozen.data.checks.inspection import inspect

    with _without_progress() if args.json else contextlib.nullcontext():
        inspection = inspect(args.annotations, args.images, masks=args.masks)
    found = inspection.faults
    if args.json:
        print(json.dumps({"faults": [fault.as_dict() for fault in found]}, indent=2, allow_nan=False))
    elif found:
        print(f"{_count(len(found), 'fault')} in {args.annotations} with the images of {args.images}:")
        print(faults.describe(found))
    else:
        print(_summary(inspection.document))
    return 1 if found else 0


@contextlib.contextmanager
def _without_progress() -> Iterator[None]:
    """Keeps standard output for the JSON alone: progress is logged there."""
    logger = logging.getLogger("tf_frozen.data")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


def _summary(document: dict) -> str:
    boxes = _count(len(document["annotations"]), "box", "boxes")
    categories = _count(len(document["categories"]), "class", "classes")
    names = ", ".join(str(category["name"]) for category in document["categories"][:10])
    more = ", ..." if len(document["categories"]) > 10 else ""
    return f"No faults: {_count(len(document['images']), 'image')}, {boxes}, {categories} ({names}{more})."


def _count(number: int, noun: str, plural: str = "") -> str:
    return f"{number} {noun if number == 1 else plural or noun + 's'}"
