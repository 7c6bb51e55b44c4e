"""`tf-frozen audit`: proves from a run's files that its frozen variables have not changed."""

from __future__ import annotations

import argparse
import json
import logging
from typing import Any

HELP = "prove that the frozen variables of a run have not changed; exit 1 if they have"
EXAMPLE = "tf-frozen audit --model_dir runs/quickstart"
_CHECKS = {
    "changed": "differ in any bit from the start of the run",
    "optimizer_slots": "have optimizer slots",
    "regularized": "are in a regularization loss",
    "backward_ops": "backward ops through what is frozen",
    "loss_terms": "sums that add frozen weights to the loss",
    "writes": "are written to in the train step",
    "batch_statistics": "are of batch norms on the batch's statistics",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of the command."""
    parser.add_argument("--model_dir", required=True, metavar="DIR", help="run directory of tf-frozen train")
    parser.add_argument(
        "--gin_param",
        action="append",
        default=[],
        metavar="B",
        help="'NAME = value', repeatable; a path that moved, say",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object, with every name and fingerprint")


def run(args: argparse.Namespace) -> int:
    """Prints what was checked on the newest checkpoint and a step traced from it; 1 if anything is broken, else 0."""
    from tf_frozen.training.opening import load_run
    from tf_frozen.training.run import Run

    if args.json:
        logging.getLogger("tf_frozen").setLevel(logging.WARNING)  # standard output is for the JSON alone
    load_run(args.model_dir, args.gin_param)
    report = Run(args.model_dir).audit()
    print(json.dumps(report, indent=2) if args.json else _text(report))
    return 1 if report["verdict"] == "broken" else 0


def _text(report: dict[str, Any]) -> str:
    since, norms = max(report["from_step"], report["proven_from"]), report["frozen_norms"]
    counts = f"{report['frozen_variables']} frozen variables, {report['frozen_bytes'] / 1e6:.1f} MB"
    lines = [f"{counts}, {norms} batch norms among their layers; from step {since} to step {report['step']}:"]
    if report["proven_from"]:
        lines.append(f"  nothing is proven of the steps before {since}: freezing.json was lost there")
    width = max(map(len, _CHECKS.values()))
    for check, what in _CHECKS.items():
        names = report["names"].get(check, [])
        shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        lines.append(f"  {what:{width}}  {report[check]:>5}  {shown}".rstrip())
    lines.append(f"fingerprint at the start  {report['start']['digest']}")
    lines.append(f"fingerprint now           {report['end']['digest']}")
    return "\n".join([*lines, f"verdict: {report['verdict']}"])
