"""Audits the frozen variables of any Keras model while `fit` trains it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from tf_frozen.errors import ConfigError
from tf_frozen.freezing.audit import Audit
from tf_frozen.keras_flavor import keras

_LOGGER = logging.getLogger(__name__)


class FreezingAudit(keras.callbacks.Callback):
    """`model.fit(..., callbacks=[FreezingAudit()])` stops with a FreezeError where a frozen variable does not stay so.

    It takes the variables' fingerprints when training begins, checks the traced train step before it first runs, and
    compares all at the end: see Audit. `report` is then what Audit.as_dict gives. Raises ConfigError for a model whose
    variables do not exist yet.
    """

    def __init__(self):
        super().__init__()
        self._audit: Audit | None = None
        self._step: tf.types.experimental.ConcreteFunction | None = None

    @property
    def report(self) -> dict[str, Any]:
        """Verdict, counts, violations and fingerprints of the last training; ConfigError before one."""
        if self._audit is None:
            raise ConfigError("FreezingAudit.report is there once a model was trained with it: give it to fit first.")
        return self._audit.as_dict()

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Takes the fingerprints of what is frozen."""
        if not self.model.built:
            raise ConfigError(
                f"FreezingAudit needs the variables of {self.model.name} before it trains, and they do not exist yet: "
                f"call the model on a batch, or its build, before fit."
            )
        self._step, self._audit = None, Audit(self.model, self.model.optimizer)
        if not self._frozen:
            _LOGGER.warning("Nothing of %s is frozen, so FreezingAudit proves nothing.", self.model.name)

    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        """Has the first step checked before it runs."""
        if self._step is None:
            self.model.train_function = self._checked(self.model.train_function)

    def on_train_end(self, logs: dict | None = None) -> None:
        """Compares with the start."""
        self._audit.finish(self._step)
        if self._frozen:
            _LOGGER.info("%d frozen variables are bit for bit what they were.", self._frozen)

    @property
    def _frozen(self) -> int:
        return self._audit.as_dict()["frozen_variables"]

    def _checked(self, function: Any) -> Any:
        """A stand-in for the function that `fit` calls for a step, for one call: it checks that function first."""

        def step(iterator: Iterator) -> Any:
            self.model.train_function = function
            # With run_eagerly it is a plain function, and is traced for the check alone.
            traceable = function if hasattr(function, "get_concrete_function") else tf.function(function)
            self._step = traceable.get_concrete_function(iterator)
            self._audit.inspect(self._step)
            return function(iterator)

        return step
