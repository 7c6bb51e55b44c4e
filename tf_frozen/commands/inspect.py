"""`tf-frozen inspect`: shows what a configuration builds, which parts train, and the cost."""

from __future__ import annotations

import argparse
import copy
import json
import logging
from typing import Any

import gin

HELP = "show layers, parameters, FLOPs and bytes against training everything, and what is frozen and why"
EXAMPLE = "tf-frozen inspect --gin_file quickstart.gin --gin_param 'BACKBONE_MODE = \"fine_tune\"'"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of the command."""
    parser.add_argument(
        "--gin_file",
        action="append",
        required=True,
        metavar="F",
        help="path or shipped name, repeatable",
    )
    parser.add_argument(
        "--gin_param", action="append", default=[], metavar="B", help="'Name.param = value', repeatable"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")


def run(args: argparse.Namespace) -> None:
    """Builds the detector and the optimizer of the configuration, without a run, and prints what they are."""
    from tf_frozen.config.load import load_config
    from tf_frozen.training.run import Run  # gin has to know it before a file binds its parameters

    if args.json:
        logging.getLogger("tf_frozen").setLevel(logging.WARNING)  # standard output is for the JSON alone
    load_config(args.gin_file, args.gin_param)
    report = _report(gin.get_bindings(Run, resolve_references=False))
    print(json.dumps(report, indent=2) if args.json else _text(report))


def _report(bindings: dict[str, Any]) -> dict[str, Any]:
    from tf_frozen.config.computed import pin_macro
    from tf_frozen.freezing.advice import advice
    from tf_frozen.freezing.layers import layers
    from tf_frozen.freezing.policy import Policy
    from tf_frozen.freezing.policy import table as policy_table
    from tf_frozen.freezing.savings import savings
    from tf_frozen.layers.building import build, unallocated
    from tf_frozen.training.precision import precision_of_layers

    # Gin resolves a reference, as to a macro, when it is copied.
    with unallocated(), precision_of_layers(copy.deepcopy(bindings.get("precision", "float32"))):
        detector = _built(bindings, "detector")
        build(detector)
    decisions = (copy.deepcopy(bindings.get("policy")) or Policy(rules=(), until=None)).apply(detector)
    checkpoints = copy.deepcopy(bindings.get("checkpoints", "trained"))
    if copy.deepcopy(bindings.get("train_steps")) is None:
        pin_macro("TRAIN_STEPS", 1, "any number")  # what it is depends on the data, and here nothing on it
    report = savings(detector, _built(bindings, "optimizer"), checkpoints=checkpoints)
    return {
        "detector": type(detector).__name__,
        **report,
        "warnings": advice(detector),
        "policy": policy_table(decisions).split("\n"),
        "layers": layers(detector),
    }


def _built(bindings: dict[str, Any], parameter: str) -> Any:
    """Calls the configured Run.`parameter` and returns the result; ConfigError if none is configured."""
    from tf_frozen.errors import ConfigError

    if parameter not in bindings:
        raise ConfigError(
            f"The configuration has no Run.{parameter}, so there is nothing to inspect. "
            f"Name a runnable file (`tf-frozen configs` lists them first), or bind it: Run.{parameter} = @..."
        )
    # The other bindings, of the data for one, are not needed.
    return copy.deepcopy(bindings[parameter])()


def _text(report: dict[str, Any]) -> str:
    from tf_frozen.freezing.savings import table

    width = max(len(row["path"]) for row in report["layers"])
    lines = [f"{'layer':{width}}  {'type':22}  {'parameters':>12}  {'statistics':>10}"]
    for row in report["layers"]:
        counts = f"{row['parameters']:>12,}  {row['statistics']:>10,}"
        state = "" if row["trains"] else "  frozen"
        lines.append(f"{row['path']:{width}}  {row['type']:22}  {counts}{state}")
    policy = ["", "What trains from step 0 on:", *report["policy"]]
    return "\n".join([*lines, *policy, "", table(report), *(f"Warning: {warning}" for warning in report["warnings"])])
