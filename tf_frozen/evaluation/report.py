"""Formats scores as a table for the terminal."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence


def table(
    figures: Mapping[str, float | None], per_class: Sequence[Mapping] = (), meanings: Mapping[str, str] | None = None
) -> str:
    """Returns the figures and their `meanings`, then the rows of each class, all as of a Metric, as aligned lines."""
    rows = [(name, _cell(value), _meaning(name, meanings or {})) for name, value in figures.items()]
    blocks = [_aligned([("metric", "value", "meaning"), *rows], "<><")]
    if per_class:
        names = [name for name in per_class[0] if name != "category"]
        rows = [(row["category"], *(_cell(row.get(name)) for name in names)) for row in per_class]
        blocks.append(_aligned([("category", *names), *rows], "<" + ">" * len(names)))
    return "\n\n".join(blocks)


def _meaning(name: str, meanings: Mapping[str, str]) -> str:
    figure, at, count = name.partition("@")
    return meanings.get(f"{figure}@n", "").replace(" n ", f" {count} ") if at else meanings.get(name, "")


def _cell(value: float | None) -> str:
    if value is None:
        return "n/a"
    return str(value) if isinstance(value, int) else f"{value:.3f}"


def _aligned(rows: Sequence[Sequence[str]], sides: str) -> str:
    widths = [max(map(_columns, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(_padded, row, widths, sides)).rstrip() for row in rows)


def _padded(cell: str, width: int, side: str) -> str:
    padding = " " * (width - _columns(cell))
    return cell + padding if side == "<" else padding + cell


def _columns(text: str) -> int:
    """Columns of a text in a terminal: two for a wide (East Asian) character, none for a combining one."""
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return len(text) + wide - sum(unicodedata.combining(character) > 0 for character in text)
