"""Random pyramids, the shapes that a neck must give, and what its tests share."""

import numpy as np
import tensorflow as tf

from tf_frozen.keras_flavor import keras

RESNET_CHANNELS = {2: 256, 3: 512, 4: 1024, 5: 2048}


def pyramid(batch, size, channels):
    """Random maps of a backbone's levels for images of `size`."""
    shapes = {level: [-(-side // 2**level) for side in size] for level in channels}
    return {
        level: tf.random.stateless_normal([batch, *shapes[level], count], [level, 1])
        for level, count in channels.items()
    }


def shapes(batch, size, levels, filters):
    """The shapes of a pyramid of `filters` channels at `levels`."""
    return {level: (batch, *(-(-side // 2**level) for side in size), filters) for level in levels}


def parameters(layer):
    """How many numbers of a layer train."""
    return sum(weight.shape.num_elements() for weight in layer.trainable_weights)


def nothing():
    """A norm that does nothing."""
    return keras.layers.BatchNormalization(center=False, scale=False, epsilon=0.0, trainable=False)


def to_identity(conv):
    """Makes a convolution of one channel hand on what comes in."""
    kernel = np.zeros(conv.kernel.shape, np.float32)
    kernel[kernel.shape[0] // 2, kernel.shape[1] // 2, 0, 0] = 1.0
    conv.set_weights([kernel, np.zeros(1)])


def copy_shaken(source, target):
    """Gives a layer and its counterpart the same weights, moved off their initial values where those are 0 or 1."""
    random = np.random.default_rng(sum(map(ord, source.name)))
    weights = [w if w.ndim > 1 else w + np.abs(random.normal(0, 0.1, w.shape)) for w in source.get_weights()]
    source.set_weights(weights)
    target.set_weights(weights)
