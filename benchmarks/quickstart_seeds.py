"""Runs the quickstart with several seeds, each in a process of its own, and prints every score and the median.

Example: python benchmarks/quickstart_seeds.py --seeds 0 1 2 --output runs/seeds
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
from pathlib import Path

COLUMNS = ("AP", "AP50", "AP75", "APs", "APm", "AR100")


def main() -> None:
    """Parses the flags, runs the seeds one after another and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--output", type=Path, default=Path("runs/seeds"))
    parser.add_argument("--gin_file", default="quickstart.gin")
    parser.add_argument("--gin_param", action="append", default=[])
    args = parser.parse_args()
    summaries = [train(args.gin_file, args.gin_param, seed, args.output / str(seed)) for seed in args.seeds]
    print("seed", *COLUMNS, "minutes", "GB", sep="\t")
    for summary in summaries:
        print(summary["seed"], *row(summary), sep="\t")
    print(
        "median",
        *(f"{statistics.median(float(row(s)[i]) for s in summaries):.3f}" for i in range(8)),
        sep="\t",
    )


def train(gin_file: str, gin_params: list[str], seed: int, model_dir: Path) -> dict:
    """Runs `tf-frozen train` and gives its summary."""
    params = [f"--gin_param={value}" for value in [*gin_params, f"SEED = {seed}"]]
    command = ["tf-frozen", "train", f"--gin_file={gin_file}", *params, f"--model_dir={model_dir}"]
    subprocess.run(command, check=True)
    return json.loads((model_dir / "summary.json").read_text(encoding="utf-8"))


def row(summary: dict) -> list[str]:
    """The figures of one run, in the order of the table."""
    metrics = [f"{summary['metrics'][name]:.3f}" for name in COLUMNS]
    return [*metrics, f"{summary['seconds'] / 60:.2f}", f"{summary['peak_memory_bytes'] / 1e9:.2f}"]


if __name__ == "__main__":
    main()
