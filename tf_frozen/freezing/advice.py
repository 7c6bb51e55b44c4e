"""Warns before training about a frozen backbone, by the paper's results and by statistics of the first images."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tf_frozen.errors import FreezeError
from tf_frozen.keras_flavor import keras
from tf_frozen.layers.building import is_allocated

# The paper's NAS-FPN trains 39.9 % of the parameters and is the least that did not lose by freezing (Table 3). The
# NAS-FPN detector of this project trains 38.7 %: what the paper's other 2.0 M are is not published.
_LEAST_SHARE = 38.5
# Times by which the channels' variance before the first batch norm is off what the norm has seen in training, the
# median. EfficientNet-Lite0 on tiles of the quickstart, six batches, large-scale jitter too: 0.5 to 0.75 as its weights
# want their images; 7,800 to 12,500 on 0…255 as they are; 0.0003 to 0.0007 where images in 0…1 went through the
# preprocessing of 0…255. Within ten, as other photographs are: blue and red swapped (0.5 to 0.76), 0…1
# as they are (0.12 to 0.19), ImageNet's deviations instead of 128 (2.4 to 3.7). Means separate worse.
_MISTAKE, _DOUBTFUL = 100.0, 10.0
_FLAT = (
    10.0  # deviation of pixels in 0…255 below which the images themselves vary too little to blame the preprocessing
)
_IMAGES = 4  # are enough, and the first map of many large ones takes gigabytes
# The paper's figures are of runs of 133,056 steps and more (72 epochs of COCO). In runs of minutes FPN, which learns
# faster, did better under a frozen backbone than NAS-FPN (docs/your_data.md).
_LEAST_STEPS = 133_056 // 10
_WAYS_OUT = (
    "Use a neck and heads with more to train (necks/nas_fpn.gin, heads/box_cascade.gin), or BACKBONE_MODE = "
    "'fine_tune' or 'frozen_with_adapters'."
)


def advice(detector: keras.Model, steps: int | None = None) -> list[str]:
    """Warnings, each with its figure; none where all of the backbone trains. The detector's variables must exist.

    What the paper says of little that trains is omitted for a run of few `steps`; None is a run of any length.
    """
    backbone = detector.backbone
    if not backbone.frozen:
        return [line for line in (_epsilon(backbone),) if line]
    if backbone.weights_source is None:
        return [
            f"The backbone's weights are random and frozen (mode {backbone.mode!r}): they have learnt nothing from any "
            f"image, and never will. That is a control experiment; else set BACKBONE_MODE = 'frozen', with weights."
        ]
    is_short = steps is not None and steps < _LEAST_STEPS
    return [line for line in (None if is_short else _capacity(detector), _epsilon(backbone)) if line]


def _capacity(detector: keras.Model) -> str | None:
    """Warns with the paper's figures if few parameters train on top of a frozen backbone."""
    neck = detector.neck
    measured = getattr(neck, "measured_on_frozen", None)
    if measured:
        return f"The backbone is frozen under {type(neck).__name__}. {measured} {_WAYS_OUT}"
    trained, total = (
        sum(v.shape.num_elements() for v in variables)
        for variables in (detector.trainable_variables, [v for v in detector.weights if v.trainable])
    )
    if 100 * trained >= _LEAST_SHARE * total:
        return None
    return (
        f"The backbone is frozen, and what is left to train is {100 * trained / total:.1f} % of the parameters. In the "
        f"paper freezing lost 6.5 AP at 26 %, nothing at 40 %, and gained 0.7 AP at 54 % (Tables 1 and 3, R101 with "
        f"ImageNet weights, 600 epochs on COCO). {_WAYS_OUT}"
    )


def _epsilon(backbone: keras.Model) -> str | None:
    """Whether frozen norms divide by something else than in the training of the published weights."""
    published = getattr(backbone, "published_norm_epsilon", None)
    norms = (layer for layer in backbone.submodules if isinstance(layer, keras.layers.BatchNormalization))
    if backbone.weights_source is None or all(norm.trainable for norm in norms):
        return None
    if published is None or backbone.norm_epsilon == published:
        return None
    return (
        f"The frozen batch norms have epsilon {backbone.norm_epsilon:g}, but the weights published for "
        f"{type(backbone).__name__} were trained with {published:g}. Unless {backbone.weights_source} were trained "
        f"otherwise, set {type(backbone).__name__}.norm_epsilon = {published:g}; the 1e-4 of the paper's YAMLs is for "
        f"the norms that start anew."
    )


def advice_on_batch(detector: keras.Model, images: tf.Tensor, image_size: tf.Tensor) -> list[str]:
    """Warnings about images [batch, H, W, 3] in 0…255 that a frozen backbone is to see, by its first batch norm.

    `image_size` [batch, 2] is the part of each that is not padding. The channels' mean and variance before that norm,
    over the batch, are held against those that it has from its training. Raises FreezeError where they are so far off
    that only a mistake explains it. Silent where there is nothing to measure: no frozen pretrained batch norm, or a
    network that is not functional.
    """
    backbone = detector.backbone
    norm = _first_norm(backbone)
    if norm is None:
        return []
    images, image_size = images[:_IMAGES], image_size[:_IMAGES]
    found = _statistics(backbone, norm, images, image_size)
    if found is None or 1 / _DOUBTFUL <= found.ratio <= _DOUBTFUL:
        return []
    pixels = _inside(images, image_size, images.shape[1:3])
    flat = found.ratio < 1 and float(tf.reduce_max(pixels)) > 1 and float(tf.math.reduce_std(pixels)) < _FLAT
    message = _message(backbone, norm, found)
    if flat:
        return [f"{message} But the images hardly vary themselves, so the preprocessing may be right."]
    if 1 / _MISTAKE <= found.ratio <= _MISTAKE:
        return [f"{message} If your images are like that, ignore this warning."]
    raise FreezeError(message)


class _Statistics(NamedTuple):
    """Medians over the channels: of the batch, of the norm's training, and of the ratio of both variances."""

    mean: float
    variance: float
    trained_mean: float
    trained_variance: float
    ratio: float


def _first_norm(backbone: keras.Model) -> keras.layers.BatchNormalization | None:
    """The first batch norm, if it is one of pretrained weights, in a network that can be cut before it."""
    network = backbone.network
    if backbone.weights_source is None or not getattr(network, "inputs", None) or not is_allocated(backbone):
        return None
    norms = (layer for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization))
    norm = next(norms, None)
    return None if norm is None or norm.trainable else norm


def _statistics(
    backbone: keras.Model, norm: keras.layers.BatchNormalization, images: tf.Tensor, image_size: tf.Tensor
) -> _Statistics | None:
    before = keras.Model(backbone.network.inputs, _input_of(norm, backbone.network))
    maps = tf.cast(before(backbone.padded(backbone.preprocess(images)), training=False), tf.float32)
    inside = _inside(maps, image_size, images.shape[1:3])
    mean, variance = (moment.numpy() for moment in tf.nn.moments(inside, 0))
    trained_mean, trained_variance = norm.moving_mean.numpy(), norm.moving_variance.numpy()
    alive = trained_variance > norm.epsilon  # a channel that is always zero says nothing
    if not alive.any() or not len(inside):
        return None
    both = (mean, variance, trained_mean, trained_variance, variance / np.maximum(trained_variance, norm.epsilon))
    return _Statistics(*(float(np.median(values[alive])) for values in both))


def _input_of(norm: keras.layers.Layer, network: keras.Model) -> tf.Tensor:
    """The input of a layer in this network; a layer that is part of several networks, as with adapters, has several."""
    waiting, seen = list(network.outputs), set()
    while (node := waiting.pop().node).layer is not norm:
        fresh = [tensor for tensor in node.keras_inputs if id(tensor) not in seen]
        seen.update(map(id, fresh))
        waiting += fresh
    return node.keras_inputs[0]


def _inside(maps: tf.Tensor, image_size: tf.Tensor, frame: tf.TensorShape) -> tf.Tensor:
    """The cells [n, channels] of maps of a frame that are not padding."""
    cells = tf.cast(image_size * (np.array(maps.shape[1:3]) / frame), tf.int32)
    rows, columns = (tf.sequence_mask(cells[:, axis], maps.shape[axis + 1]) for axis in (0, 1))
    return tf.boolean_mask(maps, rows[:, :, tf.newaxis] & columns[:, tf.newaxis])


def _message(backbone: keras.Model, norm: keras.layers.BatchNormalization, found: _Statistics) -> str:
    times = f"{found.ratio:.3g} times" if found.ratio > 1 else f"1/{1 / max(found.ratio, 1e-12):.3g} of"
    return (
        f"The frozen backbone does not see images as its weights saw them in training ({backbone.weights_source}): "
        f"before its first batch norm ({norm.name}) the first images have a variance of {found.variance:.3g}, {times} "
        f"the norm's {found.trained_variance:.3g}, and a mean of {found.mean:.3g} where the norm has "
        f"{found.trained_mean:.3g} (medians over channels). Check that images are RGB in 0…255, that "
        f"{type(backbone).__name__}.preprocess maps them as the weights want it, and that these are its weights."
    )
