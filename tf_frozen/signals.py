"""Signals that end a process: handled for a while, or raised as an exception, so that clean-up code runs."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from types import FrameType

TERMINATIONS = (signal.SIGTERM, signal.SIGHUP)


class Terminated(BaseException):
    """SIGTERM or SIGHUP, whose number is `number`; not an Exception, so that nothing takes it for a failure."""

    def __init__(self, number: int):
        super().__init__(signal.Signals(number).name)
        self.number = number


@contextlib.contextmanager
def handled(numbers: Sequence[int], handle: Callable[[int], None]) -> Iterator[None]:
    """Calls `handle(number)` on the first of these signals inside `with`; on the second, the system does what it does.

    SIGTERM and SIGHUP stay ignored where the process was started so, as by nohup. Does nothing outside the main thread,
    where Python allows no handlers.
    """
    before = {}

    def handler(number: int, frame: FrameType | None) -> None:
        for each in before:
            # The system's own action, because a Python handler would wait for the end of a step.
            signal.signal(each, signal.SIG_DFL)
        handle(number)

    try:
        if threading.current_thread() is threading.main_thread():
            for number in numbers:
                if number not in TERMINATIONS or signal.getsignal(number) is not signal.SIG_IGN:
                    before[number] = signal.signal(number, handler)
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


def raised() -> contextlib.AbstractContextManager[None]:
    """Raises Terminated on SIGTERM and SIGHUP inside `with`."""

    def handle(number: int) -> None:
        raise Terminated(number)

    return handled(TERMINATIONS, handle)
