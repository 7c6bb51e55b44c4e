r"""Runs the quickstart with several seeds, each in a separate process, and prints every score and the median.

Example: python benchmarks/quickstart_seeds.py --seeds 0 1 2 --output runs/seeds

To compare settings, hold tiles of the training split out and score those: the val split is for scoring only.
The two right-hand columns of tiles (14 tiles, 316 boxes; 28 tiles, 366 boxes remain) are the ones that were used:

  python benchmarks/quickstart_seeds.py --hold_out 1519 1899 --output runs/held_out \
    --gin_param 'TRAIN_STEPS = 400' --gin_param 'BoxCascade.ious = (0.5, 0.6, 0.7)'
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
from pathlib import Path

import tf_frozen

NEON_TREES = Path(tf_frozen.__file__).parent / "data/embedded/neon_trees"
COLUMNS = ("AP", "AP50", "AP75", "APs", "APm", "AR100")


def main() -> None:
    """Parses the flags, runs the seeds one after another and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--output", type=Path, default=Path("runs/seeds"))
    parser.add_argument("--gin_file", default="quickstart.gin")
    parser.add_argument("--gin_param", action="append", default=[])
    parser.add_argument(
        "--hold_out",
        nargs="+",
        metavar="COLUMN",
        help="columns of training tiles to score and not to train on",
    )
    args = parser.parse_args()
    params = args.gin_param + (held_out(args.hold_out, args.output) if args.hold_out else [])
    summaries = [train(args.gin_file, params, seed, args.output / str(seed)) for seed in args.seeds]
    print("seed", *COLUMNS, "minutes", "GB", sep="\t")
    for summary in summaries:
        print(summary["seed"], *row(summary), sep="\t")
    print(
        "median",
        *(f"{statistics.median(float(row(s)[i]) for s in summaries):.3f}" for i in range(8)),
        sep="\t",
    )


def held_out(columns: list[str], folder: Path) -> list[str]:
    """Divides the training split by the column in a tile's name, train_ROW_COLUMN.jpg; gives the gin bindings."""
    content = json.loads((NEON_TREES / "train.json").read_text(encoding="utf-8"))
    known = sorted({Path(image["file_name"]).stem.split("_")[2] for image in content["images"]})
    if not set(columns) < set(known):
        raise SystemExit(f"--hold_out {columns}: some but not all of {', '.join(known)}.")
    folder.mkdir(parents=True, exist_ok=True)
    for name, held in (("train", False), ("val", True)):
        images = [i for i in content["images"] if (Path(i["file_name"]).stem.split("_")[2] in columns) == held]
        ids = {image["id"] for image in images}
        boxes = [box for box in content["annotations"] if box["image_id"] in ids]
        (folder / f"{name}.json").write_text(json.dumps({**content, "images": images, "annotations": boxes}))
    return [
        f"TRAIN_ANNOTATIONS = {str(folder / 'train.json')!r}",
        f"VAL_ANNOTATIONS = {str(folder / 'val.json')!r}",
        "VAL_IMAGES = 'embedded:neon_trees/train'",
    ]


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
