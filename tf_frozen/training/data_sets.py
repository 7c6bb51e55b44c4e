"""Reads the data sets of a run."""

from __future__ import annotations

from collections.abc import Callable

from tf_frozen import experiment
from tf_frozen.data.sources.coco_json import CocoJson
from tf_frozen.errors import DataError


def read_all(*sources: Callable[[], CocoJson]) -> list[CocoJson]:
    """The data sets; one DataError with the faults of all where any is faulty."""
    data, errors = [], []
    for source in sources:
        try:
            with experiment.explained():
                data.append(source())
        except DataError as error:
            errors.append(error)
    if errors:
        faults = [fault for error in errors for fault in error.faults]
        raise DataError("\n".join(map(str, errors)), faults) from errors[0]
    return data
