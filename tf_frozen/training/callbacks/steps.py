"""Base class of callbacks: counts steps over all resumptions of a run."""

from __future__ import annotations

import time

from tf_frozen.keras_flavor import keras


class StepCallback(keras.callbacks.Callback):
    """Calls `on_step(step, logs)` after each step; the first step of a new run is step 1.

    The step is read from the optimizer once, when training starts, so that counting never waits for the
    device. The logs arrive as floats: Keras fetches them once for all callbacks.
    """

    start_step = 0
    timed_steps = 0
    """Steps that `timed_seconds` covers: all of this call of `fit` but the first, which builds the graph."""
    timed_seconds = 0.0
    """Time spent in these steps, without that of the callbacks (saving, scoring)."""

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Reads the step that training starts from."""
        self.start_step = self._step = int(self.model.optimizer.iterations.numpy())
        self.timed_steps, self.timed_seconds = 0, 0.0

    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        """Starts the clock."""
        self._begun = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Turns the batch number of this `fit` into the step of the run."""
        step = self.start_step + batch + 1
        if self._step > self.start_step:
            self.timed_seconds += time.monotonic() - self._begun
            self.timed_steps += step - self._step
        self._step = step
        self.on_step(step, logs or {})

    def on_step(self, step: int, logs: dict[str, float]) -> None:
        """`step` steps are done; `logs` holds the loss parts of the last one."""
        raise NotImplementedError
