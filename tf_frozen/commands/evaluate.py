"""`tf-frozen evaluate`: scores a run on its val split."""

from __future__ import annotations

import argparse
import json
import logging

HELP = "score a run's detector on its val split"
EXAMPLE = "tf-frozen evaluate --model_dir runs/quickstart"

_LOGGER = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of the command."""
    parser.add_argument("--model_dir", required=True, metavar="DIR", help="run directory of tf-frozen train")
    parser.add_argument("--checkpoint", metavar="C", help="path or name, as ckpt-300 (default: the run's best)")
    parser.add_argument(
        "--gin_param",
        action="append",
        default=[],
        metavar="B",
        help="'NAME = value', repeatable; other val data, say",
    )
    parser.add_argument("--json", action="store_true", help="print the metrics as one JSON object")


def run(args: argparse.Namespace) -> None:
    """Prints the table; writes metrics.jsonl, predictions/ and metrics.json in the run directory."""
    from tf_frozen.errors import RunError
    from tf_frozen.training.opening import load_run
    from tf_frozen.training.run import Run

    if args.json:
        logging.getLogger("tf_frozen").setLevel(logging.WARNING)  # standard output is for the JSON alone
    load_run(args.model_dir, args.gin_param)
    job = Run(args.model_dir)
    scorer = job.evaluate(args.checkpoint)
    try:
        job.directory.write_metrics(scorer.metrics)
        scorer.write(job.directory.predictions)
    except RunError as error:  # a run that may only be read can be scored
        _LOGGER.warning("%s", error)
    print(json.dumps(scorer.metrics, indent=2) if args.json else scorer.table())
