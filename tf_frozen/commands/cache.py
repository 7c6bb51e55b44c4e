"""`tf-frozen cache`: stores the frozen backbone's features of the augmented training images."""

from __future__ import annotations

import argparse
import logging
import time

HELP = "store the frozen backbone's features of the training images, which training then reads instead of images"
EXAMPLE = """tf-frozen cache --gin_file quickstart.gin --gin_param 'FeatureCache.copies = 8' --output caches/quickstart
  tf-frozen train --gin_file quickstart.gin --gin_param 'FEATURE_CACHE = "caches/quickstart"' --model_dir runs/mine"""

_LOGGER = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of the command."""
    parser.add_argument(
        "--gin_file", action="append", required=True, metavar="F", help="path or shipped name, repeatable"
    )
    parser.add_argument(
        "--gin_param", action="append", default=[], metavar="B", help="'NAME = value', repeatable; overrides files"
    )
    parser.add_argument(
        "--output", required=True, metavar="DIR", help="the cache's folder; complete files of the same cache are kept"
    )
    parser.add_argument("--estimate", action="store_true", help="print the size and time it would take")


def run(args: argparse.Namespace) -> None:
    """Builds the cache, or what is missing of it, or prints the size and time that it would take."""
    from tf_frozen.config.load import load_config
    from tf_frozen.data.reading import named
    from tf_frozen.feature_cache.build import FeatureCache  # gin has to know it before a file binds it
    from tf_frozen.training.run import Run

    load_config(args.gin_file, args.gin_param)
    cache = FeatureCache()
    batches, detector = Run(args.output).feature_source()
    if args.estimate:
        _LOGGER.info("%s", cache.estimate(batches, detector, args.output))
        return
    started = time.monotonic()
    with named(batches.source):
        built = cache.build(batches, detector, args.output)
    if built:
        _LOGGER.info("Done in %.1f minutes: %s", (time.monotonic() - started) / 60, args.output)
    else:
        _LOGGER.info("%s is complete already; all its files are intact.", args.output)
    _LOGGER.info("Train from it: tf-frozen train ... --gin_param 'FEATURE_CACHE = \"%s\"'", args.output)
