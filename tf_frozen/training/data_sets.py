"""Reads the data sets of a run."""

from __future__ import annotations

from collections.abc import Callable

from tf_frozen.config.explained import explained
from tf_frozen.data.checks.examples import check_examples
from tf_frozen.data.faults import describe
from tf_frozen.data.source import DataSource
from tf_frozen.errors import ConfigError, DataError

_FAULTS_SHOWN = 20


def read_all(*sources: Callable[[], DataSource]) -> list[DataSource]:
    """The data sets; one DataError with the faults of all where any is faulty."""
    data, errors = [], []
    for source in sources:
        try:
            with explained():
                data.append(_checked(source()))
        except DataError as error:
            errors.append(error)
    if errors:
        faults = [fault for error in errors for fault in error.faults]
        raise DataError("\n".join(map(str, errors)), faults) from errors[0]
    return data


def _checked(data: DataSource) -> DataSource:
    if not isinstance(data, DataSource):
        raise ConfigError(f"The data of a run are a {type(data).__name__}; they must be a DataSource, as CocoJson is.")
    faults = check_examples(data)
    if faults:
        raise DataError(f"The examples of {data} are faulty.\n{describe(faults, _FAULTS_SHOWN)}", faults)
    return data
