"""Scores as a table for the terminal."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence

_MEANINGS = {
    "AP": "average precision, mean of IoU 0.50 to 0.95",
    "AP50": "average precision at IoU 0.50",
    "AP75": "average precision at IoU 0.75",
    "APs": "AP of small objects, below 32 x 32 px",
    "APm": "AP of medium objects",
    "APl": "AP of large objects, above 96 x 96 px",
    "AR1": "recall with 1 box an image",
    "AR10": "recall with 10 boxes an image",
    "AR100": "recall with 100 boxes an image",
    "ARs": "AR100 of small objects",
    "ARm": "AR100 of medium objects",
    "ARl": "AR100 of large objects",
}
_AT_MORE = {"AP": "average precision", "AR": "recall"}


def table(metrics: Mapping[str, float | None], per_class: Sequence[Mapping] = ()) -> str:
    """Return the metrics (fractions or None), then the rows of `coco.per_class`, as aligned lines."""
    rows = [(name, _figure(value), _meaning(name)) for name, value in metrics.items()]
    blocks = [_aligned([("metric", "value", "meaning"), *rows], "<><")]
    if per_class:
        figures = [name for name in per_class[0] if name not in ("category", "instances")]
        rows = [(r["category"], str(r["instances"]), *(_figure(r[name]) for name in figures)) for r in per_class]
        blocks.append(_aligned([("category", "instances", *figures), *rows], "<" + ">" * (1 + len(figures))))
    return "\n\n".join(blocks)


def _meaning(name: str) -> str:
    figure, _, boxes = name.removeprefix("mask_").partition("@")
    meaning = f"{_AT_MORE[figure]} with {boxes} boxes an image" if boxes else _MEANINGS.get(figure, "")
    if not name.startswith("mask_") or not meaning:
        return meaning
    return f"masks: {meaning.replace('boxes', 'masks').replace('box', 'mask')}"


def _figure(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.3f}"


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
