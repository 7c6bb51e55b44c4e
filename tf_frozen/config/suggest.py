"""Suggests the nearest known names for an unknown one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Returns " Did you mean 'a' or 'b'?" with the up to three of `names` nearest to `name`; else nothing."""
    by_lower = {known.lower(): known for known in sorted(names)}
    stem = name.lower().rpartition("/")[2].removesuffix(".gin")
    same_file = [known for known in by_lower if known.endswith(f"/{stem}.gin")]
    near = [difflib.get_close_matches(name.lower(), by_lower, n=3, cutoff=cutoff) for cutoff in (0.8, 0.6)]
    close = near[0] or near[1]
    nearest = [f"'{by_lower[known]}'" for known in dict.fromkeys([*same_file, *close])][:3]
    listed = " or ".join([", ".join(nearest[:-1]), nearest[-1]] if nearest[1:] else nearest)
    return f" Did you mean {listed}?" if nearest else ""
