"""A model that trains in milliseconds, on batches that are a function of the step."""

import os

import numpy as np
import tensorflow as tf

from tf_frozen.keras_flavor import keras
from tf_frozen.training.callbacks.checkpointing import Checkpointing
from tf_frozen.training.callbacks.finite_loss import FiniteLoss
from tf_frozen.training.checkpoint import Checkpoints

BATCH = 4


class Tiny(keras.Model):
    """Two dense layers around a batch norm; its loss has two parts, as a detector's has several."""

    def __init__(self, units=16):
        super().__init__()
        self.inside = keras.layers.Dense(units)
        self.norm = keras.layers.BatchNormalization()
        self.out = keras.layers.Dense(2)
        self(tf.zeros([1, 8]))

    def call(self, x, training=False):
        return self.out(self.norm(self.inside(x), training=training))

    def train_step(self, data):
        x, target = data
        with tf.GradientTape() as tape:
            y = self(x, training=True)
            parts = {"fit_loss": tf.reduce_mean((y - target) ** 2), "size_loss": 0.01 * tf.reduce_mean(y**2)}
            loss = parts["fit_loss"] + parts["size_loss"]
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
        return {"loss": loss, **parts}


def adam():
    rate = keras.optimizers.schedules.CosineDecay(0.1, 40)
    return keras.optimizers.AdamW(rate, use_ema=True, ema_momentum=0.9)


def image_ids(steps_done):
    return [f"tile_{BATCH * steps_done + i}" for i in range(BATCH)]


def batches(start, total, poison=None):
    """The batches of steps start ... total; the target of batch `poison` is infinite."""

    def batch(step):
        x = tf.random.stateless_normal([BATCH, 8], [7, tf.cast(step, tf.int32)])
        factor = tf.where(step == (-1 if poison is None else poison), np.inf, 1.0)
        return x, x[:, :2] * tf.cast(factor, tf.float32)

    return tf.data.Dataset.range(start, total).map(batch)


def train(folder, total, callbacks=(), poison=None, save_steps=None, eager=False, model=None):
    """Trains up to step `total`, from the last checkpoint in `folder` on; returns model and first step."""
    model, optimizer = model or Tiny(), adam()
    checkpoints = Checkpoints(folder, model, optimizer)
    start = checkpoints.restore_latest()
    model.compile(optimizer, run_eagerly=eager)
    callbacks = [
        FiniteLoss(image_ids),
        *callbacks,
        Checkpointing(checkpoints, seconds=None, steps=save_steps),
    ]
    data = batches(start, total, poison)
    model.fit(data, epochs=1, steps_per_epoch=total - start, callbacks=callbacks, verbose=0)
    return model, start


def state(folder):
    """All that the last checkpoint in `folder` holds, by name, and its step."""
    path = tf.train.latest_checkpoint(os.path.join(folder, "checkpoints"))
    reader = tf.train.load_checkpoint(path)
    names = [n for n in reader.get_variable_to_shape_map() if n.endswith("VARIABLE_VALUE")]
    values = {name: reader.get_tensor(name) for name in names if not name.startswith("save_counter")}
    return values, int(values["optimizer/_iterations/.ATTRIBUTES/VARIABLE_VALUE"])
