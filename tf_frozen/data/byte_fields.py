"""Reads fields of a binary file format from a string tensor, with operations that a SavedModel can hold."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf


def length(contents: tf.Tensor) -> tf.Tensor:
    """Returns the number of bytes, int64."""
    return tf.cast(tf.strings.length(contents), tf.int64)


def text(contents: tf.Tensor, at: tf.Tensor | int, size: tf.Tensor | int) -> tf.Tensor:
    """Returns `size` bytes from position `at` on, a scalar string; fewer where `contents` ends before."""
    at = tf.clip_by_value(tf.cast(at, tf.int64), 0, length(contents))
    return tf.strings.substr(contents, at, tf.cast(size, tf.int64))


def number(contents: tf.Tensor, at: tf.Tensor | int, size: int, big_endian: tf.Tensor | bool = True) -> tf.Tensor:
    """Returns the unsigned integer of `size` bytes at position `at`, int64; bytes beyond the end count as 0."""
    return unsigned(tf.io.decode_raw(text(contents, at, size), tf.uint8, fixed_length=size), big_endian)


def unsigned(values: tf.Tensor, big_endian: tf.Tensor | bool = True) -> tf.Tensor:
    """Returns the unsigned integers [...], int64, of bytes uint8 [..., size]."""
    little = [256**power for power in range(values.shape[-1])]
    # Reversed in Python: TensorFlow's layout pass logs an error where a constant is sliced backwards in a graph.
    weights = tf.where(big_endian, tf.constant(little[::-1], tf.int64), tf.constant(little, tf.int64))
    return tf.reduce_sum(tf.cast(values, tf.int64) * weights, -1)


def advance(contents: tf.Tensor, at: tf.Tensor | int, goes_on: Callable, step: Callable) -> tf.Tensor:
    """Returns the first of the positions at, at + step(at), … where `goes_on` is False, int64.

    That is the end of `contents` at most. `step` must be positive.
    """
    end = length(contents)
    inside = lambda at: tf.logical_and(at < end, goes_on(at))  # noqa: E731
    return tf.minimum(end, tf.while_loop(inside, lambda at: [at + step(at)], [tf.cast(at, tf.int64)])[0])
