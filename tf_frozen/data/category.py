"""A class of objects in a data set."""

from __future__ import annotations

from typing import NamedTuple


class Category(NamedTuple):
    """A class as the data set numbers and names it."""

    id: int
    name: str
