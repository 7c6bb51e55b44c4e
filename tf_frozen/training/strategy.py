"""Chooses the distribution strategy for the devices of this machine."""

import tensorflow as tf


def default_strategy() -> tf.distribute.Strategy:
    """All GPUs in step where there are several, else the one device that TensorFlow picks by itself."""
    gpus = tf.config.list_logical_devices("GPU")
    return tf.distribute.MirroredStrategy() if len(gpus) > 1 else tf.distribute.get_strategy()
