"""Samples random subsets of anchors and proposals; a function of the seed alone."""

from __future__ import annotations

import tensorflow as tf


def sample(candidates: tf.Tensor, count: tf.Tensor, maximum: int, noise: tf.Tensor) -> tf.Tensor:
    """Mask [B, n] bool of the `count` [B] candidates (at most `maximum`) that have the largest noise.

    `candidates` [B, n] bool; `noise` [B, n] float32 in [0, 1). All candidates, if there are fewer.
    """
    keys = tf.where(candidates, noise, tf.constant(-1.0, noise.dtype))
    limit = _at_most(maximum, candidates)
    values, index = tf.math.top_k(keys, k=limit, sorted=True)
    kept = (values >= 0.0) & (tf.range(limit) < count[:, tf.newaxis])
    batch = tf.shape(candidates)[0]
    row = tf.broadcast_to(tf.range(batch)[:, tf.newaxis], tf.shape(index))
    mask = tf.scatter_nd(tf.stack([row, index], axis=-1), tf.cast(kept, tf.int32), tf.shape(candidates))
    return tf.ensure_shape(mask > 0, candidates.shape)


def sample_balanced(
    positive: tf.Tensor, negative: tf.Tensor, total: int, positive_fraction: float, seed: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Masks (positives, negatives), each [B, n] bool, of at most `total` samples an image.

    `positive`, `negative` [B, n] bool must not overlap; `seed` is int32 [2]. At most `positive_fraction` of
    `total` are positives; negatives fill the rest.
    """
    noise = tf.random.stateless_uniform(tf.shape(positive), seed)
    most = round(total * positive_fraction)
    positives = sample(positive, tf.fill([tf.shape(positive)[0]], most), most, noise)
    left = total - tf.reduce_sum(tf.cast(positives, tf.int32), axis=-1)
    return positives, sample(negative, left, total, noise)


def first(candidates: tf.Tensor, maximum: int) -> tuple[tf.Tensor, tf.Tensor]:
    """The first `maximum` candidates [B, n] bool of each row, or n if that is less: bool and their places, [B, k].

    Where a row has fewer candidates, False marks the places that fill it up.
    """
    chosen, index = tf.math.top_k(tf.cast(candidates, tf.int32), _at_most(maximum, candidates))
    return chosen > 0, index


def _at_most(maximum: int, candidates: tf.Tensor) -> int | tf.Tensor:
    """The smaller of `maximum` and n of candidates [B, n], which a graph for batches of any size does not know."""
    size = candidates.shape[-1]
    return tf.minimum(maximum, tf.shape(candidates)[-1]) if size is None else min(maximum, size)
