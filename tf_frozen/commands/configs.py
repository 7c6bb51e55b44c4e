"""`tf-frozen configs`: lists the shipped gin files, which `--gin_file` takes from any folder."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from tf_frozen.config import gin_files

HELP = "list the shipped gin files, which --gin_file and include take by these names from any folder"
EXAMPLE = "tf-frozen configs"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of the command."""
    parser.add_argument("--markdown", action="store_true", help="print tables with the stated score and cost of each")


def run(args: argparse.Namespace) -> None:
    """Prints one line a gin file: its name and its purpose; or the page gin_configs/README.md."""
    if args.markdown:
        print(markdown())
        return
    files = gin_files.shipped()
    width = max((len(name) for name, _ in files), default=0)
    for name, purpose in files:
        print(f"{name.ljust(width)}  {purpose}")


def markdown() -> str:
    """The page gin_configs/README.md: what can be run, with score and cost, then the parts by folder."""
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    purposes = dict(gin_files.shipped())
    headers = {name: gin_files.header(name) for name in purposes}
    runnable = [name for name, header in headers.items() if "Command" in header]
    yield "# Shipped configurations"
    yield ""
    yield "`tf-frozen train --gin_file NAME` takes these names from any folder; each file opens with its command, what"
    yield "it requires and what is commonly overridden. This page is what `tf-frozen configs --markdown` prints."
    for title, folder in (("To run", ""), ("The paper, row by row", "papers/")):
        rows = [name for name in runnable if name.startswith("papers/") == bool(folder)]
        yield from ("", f"## {title}", "", "| file | what | score | cost |", "|---|---|---|---|")
        for name in rows:
            cells = (headers[name].get(label, "") for label in ("Purpose", "Score and time", "Cost"))
            yield f"| `{name}` | {' | '.join(cells)} |"
    yield from ("", "## Parts to include", "", "| file | what |", "|---|---|")
    yield from (f"| `{name}` | {purpose} |" for name, purpose in purposes.items() if name not in runnable)
