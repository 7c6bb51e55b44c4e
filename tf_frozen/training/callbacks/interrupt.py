"""Stops a run after its present step on Ctrl-C, SIGTERM and SIGHUP."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
from collections.abc import Callable

from tf_frozen.signals import TERMINATIONS, Terminated, handled, raised
from tf_frozen.training.callbacks.steps import StepCallback

_LOGGER = logging.getLogger(__name__)


class StopOnInterrupt(StepCallback):
    """Inside `with`, the first Ctrl-C, SIGTERM or SIGHUP stops training after the present step, the second at once.

    Saving is Checkpointing's work. Afterwards `interrupted` says whether training was stopped. SIGTERM and SIGHUP are
    sent again when `with` ends without an error, to whatever handled them before: by default they end the process.
    """

    def __init__(self, total_steps: int):
        super().__init__()
        self._signal: int | None = None
        self._total_steps = total_steps
        self._stack = contextlib.ExitStack()

    @property
    def interrupted(self) -> bool:
        """Whether a signal came."""
        return self._signal is not None

    def __enter__(self) -> StopOnInterrupt:
        self._stack.enter_context(handled((signal.SIGINT, *TERMINATIONS), self._handle))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, *_: object) -> None:
        self._stack.close()
        number = error.number if isinstance(error, Terminated) else self._signal
        if number in TERMINATIONS and kind in (None, Terminated):
            signal.raise_signal(number)

    def _handle(self, number: int) -> None:
        self._signal = number
        if number == signal.SIGINT:
            text = b"\nStopping after this step and saving. Ctrl-C again quits at once, without saving.\n"
        else:
            text = b"\nStopping after this step and saving, because of %s.\n" % _name(number).encode()
        with contextlib.suppress(OSError):  # after SIGHUP the terminal is gone
            # Not through logging: its lock may be held by the very code that was interrupted.
            os.write(2, text)

    def at_once(self, function: Callable[[int], None]) -> Callable[[int], None]:
        """`function(step)`, whose end SIGTERM and SIGHUP do not wait for: it must run when the step is saved."""

        def interruptible(step: int) -> None:
            if self._signal not in TERMINATIONS:
                with raised():
                    function(step)

        return interruptible

    def on_step(self, step: int, logs: dict[str, float]) -> None:
        """Stops training if a signal came."""
        if self.interrupted:
            self.model.stop_training = True

    def on_train_end(self, logs: dict | None = None) -> None:
        """Logs how to resume."""
        if self.interrupted:
            _LOGGER.info(
                "Stopped by %s after step %d of %d and saved. To resume, run the same command again.",
                _name(self._signal),
                self._step,
                self._total_steps,
            )


def _name(number: int) -> str:
    return "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
