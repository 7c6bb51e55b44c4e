"""Checks that the classes of a run and those of its data are the same."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Sequence

from tf_frozen.data.category import Category
from tf_frozen.data.source import DataSource
from tf_frozen.errors import DataError, listing

_LOGGER = logging.getLogger(__name__)


def check_same(data: DataSource, run: Sequence[Category], run_file: str) -> None:
    """Raises DataError unless the training data have the classes of the resumed run: ids, names and number."""
    rows = [
        f"{'none' if here is None else tuple(here)} here, {'none' if there is None else tuple(there)} there"
        for here, there in itertools.zip_longest(data.categories, run)
        if here != there
    ]
    if rows:
        raise DataError(
            f"The categories of {data} (here) are not those that this run was trained on, {run_file} "
            f"(there):\n{listing('classes differ', rows)}\nA class would be detected under the name of another. Train "
            "on the categories of the run, or use another model_dir."
        )


def check_scored(val: DataSource, known: Sequence[Category], known_file: str) -> None:
    """Raises DataError for a val category that is not in `known`, the training data's; warns of those it lacks."""
    unknown = [tuple(category) for category in val.categories if category not in known]
    if unknown:
        raise DataError(
            f"{val} has categories {unknown} that the training data lacks: {known_file} has "
            f"{[tuple(category) for category in known]}. Use the same."
        )
    excluded = [category.name for category in known if category not in val.categories]
    if excluded:
        names = ", ".join(excluded[:10]) + (f" and {len(excluded) - 10} more" if excluded[10:] else "")
        _LOGGER.warning(
            f"{val} lists {len(val.categories)} of the {len(known)} categories of {known_file}. "
            f"Detections of the others are not scored: {names}."
        )
