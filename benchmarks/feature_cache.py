r"""Times a training step from images, from a feature cache on disk, and with its features in memory (the ceiling).

Example: python benchmarks/feature_cache.py --config resnet50_retinanet --json

The three are run in turns, round by round, in one process. Of a turn neither the first step is timed, in which its
dataset starts, nor its end, as TensorFlow may take seconds to stop what tunes a dataset; batches read ahead are as many
at the beginning as at the end. `backbone` is the frozen forward pass alone. Data are the embedded NEON photographs;
ResNet-50 has random weights, which take as long.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator

import gin
import tensorflow as tf

from tf_frozen.config.load import load_config
from tf_frozen.feature_cache.build import FeatureCache
from tf_frozen.feature_cache.cached_batches import CachedBatches
from tf_frozen.feature_cache.reader import CacheReader
from tf_frozen.training.run import Run

_RESNET = ["BACKBONE_MODE = 'frozen_random'", "INIT_CHECKPOINT = None", "FRAME = (384, 384)", "BACKBONE = @ResNet()"]
CONFIGS = {
    "resnet50_retinanet": (["runs/small_retinanet.gin", "backbones/resnet50.gin"], _RESNET),
    "quickstart": (["quickstart.gin"], []),
    "small_retinanet": (["runs/small_retinanet.gin"], []),
    "small_efficientdet": (["runs/small_efficientdet.gin"], []),
}


def main() -> None:
    """Parses the flags, builds a small cache, measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", choices=CONFIGS, default="resnet50_retinanet")
    parser.add_argument("--gin_param", action="append", default=[])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=20, help="steps of each kind in a round")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    files, params = CONFIGS[args.config]
    load_config(files, [*params, *args.gin_param])
    with tempfile.TemporaryDirectory() as folder:
        found = measure(folder, args.rounds, args.steps)
    gin.clear_config()
    print(json.dumps({"config": args.config, **found}, indent=1) if args.json else table(args.config, found))


def measure(folder: str, rounds: int, steps: int) -> dict[str, dict[str, float]]:
    """Median and spread over the rounds of the seconds a step, and of their ratios."""
    run = Run(folder)
    images, detector = run.feature_source()
    backbone = detector.backbone
    FeatureCache(copies=2).build(images, detector, f"{folder}/cache")
    source, _ = run.feature_source()
    cached = CachedBatches(source, CacheReader(f"{folder}/cache", source, detector))
    images.fixed_copies = source.fixed_copies
    kinds = {
        "uncached": images.dataset(0, 2 * steps + 1),
        "cached": cached.dataset(0, 2 * steps + 1),
        "in memory": list(cached.dataset(0, steps + 1)),
    }
    step = tf.function(detector.train_step, autograph=False)
    forward = tf.function(lambda batch: backbone.frozen_features(backbone.preprocess(batch)), autograph=False)
    picture = next(iter(images.dataset(0, 1)))[0]
    seconds: dict[str, list[float]] = {name: [] for name in (*kinds, "backbone")}
    for _ in range(rounds + 1):
        for name, batches in kinds.items():
            seconds[name].append(timed(step, batches, steps))
        seconds["backbone"].append(timed(forward, [picture] * (steps + 1), steps))
    seconds = {name: values[1:] for name, values in seconds.items()}  # graphs are built in the first
    pairs = {
        "cached / in memory": ("cached", "in memory"),
        "cached / uncached": ("cached", "uncached"),
        "backbone / uncached": ("backbone", "uncached"),
    }
    ratios = {name: [a / b for a, b in zip(seconds[x], seconds[y], strict=True)] for name, (x, y) in pairs.items()}
    return {name: spread(values) for name, values in {**seconds, **ratios}.items()}


def timed(call: Callable[[object], object], batches: Iterable, count: int) -> float:
    """Seconds of calls on a number of batches after the first, with reading them."""
    iterator = iter(batches)  # held until the clock has stopped
    started = 0.0
    for number, batch in enumerate(itertools.islice(iterator, count + 1)):
        tf.nest.flatten(call(batch))[0].numpy()  # waits for the device
        started = started if number else time.perf_counter()
    seconds = time.perf_counter() - started
    del iterator
    return seconds / count


def spread(values: list[float]) -> dict[str, float]:
    """Median, least and most."""
    return {"median": statistics.median(values), "least": min(values), "most": max(values)}


def lines(config: str, found: dict[str, dict[str, float]]) -> Iterator[str]:
    """A line for each figure."""
    yield f"{config}: seconds a step, and ratios; median (least … most) over the rounds"
    for name, row in found.items():
        yield f"  {name:20} {row['median']:.3f} ({row['least']:.3f} … {row['most']:.3f})"


def table(config: str, found: dict[str, dict[str, float]]) -> str:
    """The figures as text."""
    return "\n".join(lines(config, found))


if __name__ == "__main__":
    main()
