"""A detector whose answers are known: the box of what is bright, and a box larger than the image."""

import tensorflow as tf

from tf_frozen.data.category import Category
from tf_frozen.keras_flavor import keras

CATEGORIES = [Category(3, "oak"), Category(90, "elm")]


class BrightBox(keras.Model):
    """Finds on each frame the box of the bright pixels (class 2), and one around the whole frame (class 1).

    The score of the first is the sigmoid of the bright fraction of the frame, times a weight that is saved.
    """

    finds_masks = False

    def __init__(self, frame=(64, 96), tiles=None):
        super().__init__()
        self.frame, self.tiles = tuple(frame), tiles
        self.dense = keras.layers.Dense(1, activation="sigmoid", kernel_initializer="ones")
        self(tf.zeros([1, *frame, 3]))

    def call(self, images, image_size=None, training=None):
        batch = tf.shape(images)[0]
        bright = tf.reduce_mean(images, axis=-1) > 180
        (top, bottom), (left, right) = _extent(bright, 2), _extent(bright, 1)
        whole = tf.tile([[-5.0, -5.0, self.frame[0] + 5.0, self.frame[1] + 5.0]], [batch, 1])
        score = self.dense(tf.reduce_mean(tf.cast(bright, tf.float32), axis=[1, 2])[:, None])
        return {
            "boxes": tf.stack([tf.stack([top, left, bottom, right], 1), whole, tf.zeros_like(whole)], axis=1),
            "scores": tf.concat([score, tf.tile([[0.25, 0.0]], [batch, 1])], axis=1),
            "classes": tf.tile([[2, 1, 0]], [batch, 1]),
            "count": tf.fill([batch], 2),
        }


def _extent(bright, axis):
    """First bright line and the one after the last, float32 [batch] each."""
    line = tf.cast(tf.reduce_any(bright, axis=axis), tf.int32)
    after_last = tf.shape(line, tf.int64)[1] - tf.argmax(line[:, ::-1], axis=1)
    return tf.cast(tf.argmax(line, axis=1), tf.float32), tf.cast(after_last, tf.float32)


def photo(height, width, box):
    """A black image with a white box y1, x1, y2, x2."""
    y, x = tf.meshgrid(tf.range(height), tf.range(width), indexing="ij")
    inside = (y >= box[0]) & (y < box[2]) & (x >= box[1]) & (x < box[3])
    return tf.cast(tf.where(inside[..., None], [255, 255, 255], [0, 0, 0]), tf.uint8).numpy()
