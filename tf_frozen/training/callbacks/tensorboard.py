"""Writes scalars and pictures for TensorBoard."""

from __future__ import annotations

import logging
import os
import socket
import time

import numpy as np
import tensorflow as tf
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary

from tf_frozen.training.callbacks.steps import StepCallback

_LOGGER = logging.getLogger(__name__)


class TensorBoard(StepCallback):
    """Loss parts, learning rate and images/s every `steps` steps and at the end, and pictures, as events.

    TensorFlow's own writer cannot say where a resumed run starts over; TensorBoard needs that to drop the
    points that a killed run wrote after its last checkpoint. `batch_size` is global. Where the events cannot be
    written, training continues without them after a warning.
    """

    def __init__(self, directory: str, batch_size: int, steps: int = 20):
        super().__init__()
        self._directory = directory
        self._batch_size = batch_size
        self._steps = steps
        self._writer: tf.io.TFRecordWriter | None = None
        self._failed = False
        self._timed = (0, 0.0)
        self._last: tuple[int, dict[str, float]] | None = None

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Marks in the events where the run starts or resumes."""
        super().on_train_begin(logs)
        self._timed, self._last = (0, 0.0), None
        self._write(self.start_step + 1, session_log=SessionLog(status=SessionLog.START))

    def on_step(self, step: int, logs: dict[str, float]) -> None:
        """Writes the scalars of every `steps`-th step."""
        self._last = (step, logs)
        if step % self._steps == 0:
            self._scalars()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Writes the scalars of the last step."""
        if self._last is not None:
            self._scalars()

    def images(self, step: int, name: str, array: np.ndarray) -> None:
        """Writes uint8 [h, w, 3] or [n, h, w, 3] pictures under `name`, or `name`/0, `name`/1 and so on."""
        batch = array[np.newaxis] if array.ndim == 3 else array
        tags = [name] if array.ndim == 3 else [f"{name}/{i}" for i in range(len(batch))]
        for tag, picture in zip(tags, batch, strict=True):
            height, width, _ = picture.shape
            png = tf.io.encode_png(picture).numpy()
            image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=png)
            self._write(step, summary=Summary(value=[Summary.Value(tag=tag, image=image)]))

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Writes one point for each name."""
        points = [Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
        self._write(step, summary=Summary(value=points))

    def _scalars(self) -> None:
        step, logs = self._last
        values = {f"train/{name}": value for name, value in logs.items()}
        values["train/learning_rate"] = float(self.model.optimizer.learning_rate.numpy())
        steps, seconds = self.timed_steps - self._timed[0], self.timed_seconds - self._timed[1]
        if seconds:
            values["train/images_per_second"] = steps * self._batch_size / seconds
        self._timed, self._last = (self.timed_steps, self.timed_seconds), None
        self.scalars(step, values)

    def _write(self, step: int, **content: Summary | SessionLog) -> None:
        if self._failed:
            return
        try:
            if self._writer is None:
                self._writer = self._open()
            self._writer.write(Event(wall_time=time.time(), step=step, **content).SerializeToString())
            self._writer.flush()
        except (OSError, tf.errors.OpError) as error:
            # Losing the curves is better than losing the run.
            self._failed = True
            reason = str(error).splitlines()[0]
            _LOGGER.warning("TensorBoard's events are no longer written to %s: %s", self._directory, reason)

    def _open(self) -> tf.io.TFRecordWriter:
        os.makedirs(self._directory, exist_ok=True)
        name = f"events.out.tfevents.{time.time():.6f}.{socket.gethostname()}.{os.getpid()}"
        writer = tf.io.TFRecordWriter(os.path.join(self._directory, name))
        writer.write(Event(wall_time=time.time(), file_version="brain.Event:2").SerializeToString())
        return writer
