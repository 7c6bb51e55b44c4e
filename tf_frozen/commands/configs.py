"""The command configs: what `--gin_file` can name from any folder."""

from __future__ import annotations

import argparse
import logging

from tf_frozen import gin_files

HELP = "list the shipped gin files, which --gin_file and include take by these names from any folder"
EXAMPLE = "tf-frozen configs"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds no flags: the command has none."""


def run(args: argparse.Namespace) -> None:
    """Logs one line a gin file: its name and its purpose."""
    files = gin_files.shipped()
    width = max((len(name) for name, _ in files), default=0)
    for name, purpose in files:
        logging.getLogger(__name__).info("%s  %s", name.ljust(width), purpose)
