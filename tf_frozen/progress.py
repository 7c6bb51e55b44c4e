"""Shows the progress of long work: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import logging
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TextIO, TypeVar

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

T = TypeVar("T")
_SECONDS = 10.0  # from one line to the next
_LOGGER = logging.getLogger(__name__)


class Counter:
    """Counts `unit`s done out of `total`, with rate and time left; on a terminal as a bar, else as occasional lines.

    Shows nothing where information is not logged. Use inside `with`, so that an error leaves the terminal in order.
    """

    def __init__(self, total: int, title: str, unit: str, stream: TextIO | None = None):
        self._total, self._title, self._unit = total, title, unit
        self._stream = stream or sys.stdout
        self._stack = contextlib.ExitStack()
        self._bar: tqdm | None = None

    def __enter__(self) -> Counter:
        looks = {"desc": self._title, "unit": f" {self._unit}", "leave": False}
        self._bar = self._stack.enter_context(open_bar(self._total, self._stream, **looks))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def over(self, items: Iterable[T], size: Callable[[T], int] = lambda item: 1) -> Iterator[T]:
        """Yields the items, of which each is done when the next one is asked for; `size(item)` counts towards total."""
        started = shown = time.monotonic()
        done = 0
        for item in items:
            yield item
            done += size(item)
            now = time.monotonic()
            if self._bar is not None:
                self._bar.update(size(item))
            elif now - shown >= _SECONDS and done < self._total:
                shown, rate = now, done / (now - started)
                self._log(done, rate)

    def _log(self, done: int, rate: float) -> None:
        counted = f"{self._title}: {done}/{self._total} {self._unit}"
        _LOGGER.info("%s | %.3g %s/s | %s left", counted, rate, self._unit, duration((self._total - done) / rate))


@contextlib.contextmanager
def open_bar(total: int, stream: TextIO, **looks: Any) -> Iterator[tqdm | None]:
    """Opens a bar above which messages are logged; None where `stream` is no terminal or information is not logged.

    `looks` are arguments of `tqdm`.
    """
    if not (stream.isatty() and _LOGGER.isEnabledFor(logging.INFO)):
        yield None
        return
    loggers = [logging.getLogger(), logging.getLogger("tf_frozen")]
    # Not tqdm's own way to find the size: where a terminal says 0, as in containers, it shows nothing.
    columns, lines = shutil.get_terminal_size()
    # A logger without a handler would get one, and every line would come twice.
    with logging_redirect_tqdm([logger for logger in loggers if logger.handlers]):
        with tqdm(total=total, file=stream, ncols=columns - 1, nrows=lines, **looks) as bar:
            yield bar


def duration(seconds: float) -> str:
    """Seconds as 0:45, 12:03 or 3:00:00."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02}" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
