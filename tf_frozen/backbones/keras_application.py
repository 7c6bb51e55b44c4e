"""Networks of keras.applications as backbones; feature maps are found by their strides."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, NamedTuple

import gin
import numpy as np
import tensorflow as tf

from tf_frozen.backbones import any_size
from tf_frozen.backbones.backbone import PRETRAINED_MODES, Backbone, checked_levels, restored_by_keras
from tf_frozen.backbones.residual_adapters import ResidualAdapters
from tf_frozen.config.ranges import Level
from tf_frozen.config.suggest import did_you_mean
from tf_frozen.errors import ConfigError
from tf_frozen.keras_flavor import keras
from tf_frozen.layers.building import is_allocated

# Multiples of every stride, and sides of which no unpadded network makes all the maps of a pyramid by chance.
_PROBE = (256, 288)
# Of ImageNet's red, green and blue in 0…1.
_DEVIATION = (0.229, 0.224, 0.225)


@gin.configurable
@keras.utils.register_keras_serializable("tf_frozen")
class KerasApplication(Backbone):
    """A network of keras.applications, given by its name there and cut off above its highest level.

    The map of level l is the last of stride 2^l through which all of the image passes: the output of a stage. The first
    layers of the next stage do not belong to it: the convolution that widens a linear bottleneck (Sandler et al. 2018,
    section 3.3), which is also the one that the classifiers of these families put last, and the 1×1 convolution before
    a DenseNet's pooling. So EfficientNet-B0 gives 40, 112 and 320 channels, as EfficientDet takes them.

    `weights` is 'imagenet', which Keras downloads at first use, or the path of a file that `save_weights` of the same
    network without its top wrote, or None. Images whose sides are not multiples of the highest stride are padded with
    zeros at the bottom and right. Drop-connect is off in every mode, since Keras draws it from global randomness.
    Raises ConfigError for a network that is unknown or gives no pyramid, and for weights that cannot be loaded or
    do not fit; FreezeError when random weights would be frozen.
    """

    def __init__(
        self,
        application: str = "EfficientNetB0",
        levels: tuple[Level, ...] = (3, 4, 5),
        mode: str = "frozen",
        weights: str | None = "imagenet",
        adapters: ResidualAdapters | None = None,
        **kwargs,
    ):
        levels = checked_levels(levels, range(1, 6), "KerasApplication")
        constructor, family = _find(application)
        wanted = weights if mode in PRETRAINED_MODES else None
        read = None if restored_by_keras() else wanted
        network = _without_dropout(_load(constructor, application, read))
        maps = _feature_maps(network, application, levels)
        source = None if wanted is None else f"{application}, {weights}"
        cut = keras.Model(network.inputs, maps, name=network.name)
        super().__init__(cut, levels, mode, source, adapters, **kwargs)
        self.application, self.weights_argument, self._family = application, weights, family

    def preprocess(self, images: tf.Tensor) -> tf.Tensor:
        """Maps 0…255 as the family does it; the identity where the network begins with that itself."""
        return self._family.preprocess_input(tf.cast(images, tf.float32))

    def padded(self, images: tf.Tensor) -> tf.Tensor:
        """Zeros at the bottom and right, up to multiples of the highest stride."""
        return any_size.pad(images, 2 ** max(self.levels))

    def cut(self, maps: dict[int, tf.Tensor], images: tf.Tensor) -> dict[int, tf.Tensor]:
        """The part of each map that stands for the images without their padding."""
        return any_size.cut(maps, images)


def _find(application: str) -> tuple[Callable[..., keras.Model], ModuleType]:
    """The constructor of that name, and the module of its family, which has the preprocessing."""
    constructors = {
        name: constructor
        for name, constructor in inspect.getmembers(keras.applications, inspect.isfunction)
        if "include_top" in inspect.signature(constructor).parameters
    }
    if application not in constructors:
        raise ConfigError(
            f"KerasApplication.application is {application!r}, which keras.applications does not have."
            f"{did_you_mean(str(application), constructors) or ' It has ' + ', '.join(constructors) + '.'}"
        )
    constructor = constructors[application]
    return constructor, inspect.getmodule(constructor)


def _load(constructor: Callable[..., keras.Model], application: str, weights: str | None) -> keras.Model:
    """The whole network without its top, with these weights."""
    build = functools.partial(constructor, include_top=False, input_shape=(None, None, 3))
    network = build(weights=None)
    if weights is None or not is_allocated(network):
        return network
    try:
        if isinstance(weights, str) and os.path.exists(weights):
            network.load_weights(weights)
        else:
            network.set_weights(_fetched(build, weights))
    except Exception as error:  # Keras raises a bare Exception where it cannot download
        raise ConfigError(
            f"KerasApplication.weights is {weights!r}, which {application} cannot have: {str(error).strip()}\n"
            f"Give 'imagenet', which needs the network once, or the path of an .h5 file of {application}'s weights "
            f"without its top, or use random ones: BACKBONE_MODE = 'scratch' to train them, 'frozen_random' to freeze "
            f"them."
        ) from error
    _fix_variance(network)
    return network


def _fetched(build: Callable[..., keras.Model], weights: str) -> list[np.ndarray]:
    """Weights that Keras knows by name. In half precision it cannot build an EfficientNet with them."""
    policy = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy("float32")
    try:
        return build(weights=weights).get_weights()
    finally:
        keras.mixed_precision.set_global_policy(policy)


def _fix_variance(network: keras.Model) -> None:
    """Squares the pixel variance in EfficientNet files, which hold the standard deviation there.

    Keras divides by another √deviation where `weights` is 'imagenet' and leaves it wrong with a file of one's own
    (tensorflow/tensorflow issue 49930).
    """
    for layer in network.layers:
        if isinstance(layer, keras.layers.Normalization) and layer.weights:
            mean, variance, count = layer.get_weights()
            if np.allclose(variance, _DEVIATION, rtol=1e-2):  # stored in the compute dtype
                layer.set_weights([mean, variance**2, count])


def _without_dropout(network: keras.Model) -> keras.Model:
    for layer in network.layers:
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0.0
    return network


class _Map(NamedTuple):
    """A tensor of the network, the layer that makes it, and its (height, width, channels) for the probe."""

    tensor: Any
    layer: keras.layers.Layer
    shape: tuple[int, int, int]


def _feature_maps(network: keras.Model, application: str, levels: Sequence[int]) -> list:
    try:
        trunk = _trunk(network)
    except ValueError as error:
        raise ConfigError(
            f"{application} gives no pyramid: built for images of any size, it fails on {_PROBE[0]} × {_PROBE[1]} "
            f"pixels, because what its layers combine there differs in size: {error}"
        ) from error
    maps = []
    for level in levels:
        size = tuple(side // 2**level for side in _PROBE)
        last = max((i for i, each in enumerate(trunk) if each.shape[:2] == size), default=None)
        if last is None:
            raise ConfigError(_no_pyramid(application, level, size, trunk))
        maps.append(trunk[_before_next_stage(trunk, last)].tensor)
    return maps


def _trunk(network: keras.Model) -> list[_Map]:
    """The maps through which all of the image passes, in order: no later layer reads an earlier map."""
    tensors, layers, last_use = [], [], {}
    for layer in network.layers:  # sorted so that each comes after what it reads
        for node in layer.inbound_nodes:
            last_use.update({id(tensor): len(tensors) for tensor in node.keras_inputs})
            tensors.append(node.outputs)
            layers.append(layer)
    shapes = keras.Model(network.inputs, tensors)(keras.Input([*_PROBE, 3]))
    trunk, reach = [], 0
    for index, (tensor, layer, probe) in enumerate(zip(tensors, layers, shapes, strict=True)):
        if reach <= index:
            trunk.append(_Map(tensor, layer, tuple(probe.shape[1:])))
        reach = max(reach, last_use.get(id(tensor), 0))
    return trunk


def _before_next_stage(trunk: Sequence[_Map], last: int) -> int:
    """The index of the stage's output: `last`, or what goes into the 1×1 convolution that opens the next stage."""
    conv = last
    while not isinstance(trunk[conv].layer, keras.layers.Conv2D) and trunk[conv - 1].shape == trunk[last].shape:
        conv -= 1
    layer, before = trunk[conv].layer, trunk[conv - 1]
    if not isinstance(layer, keras.layers.Conv2D) or layer.kernel_size != (1, 1):
        return last
    linear = isinstance(before.layer, keras.layers.BatchNormalization | keras.layers.Add)
    widens = trunk[conv].shape[-1] > before.shape[-1]
    return conv - 1 if conv == last or (linear and widens) else last


def _no_pyramid(application: str, level: int, size: tuple[int, int], trunk: Sequence[_Map]) -> str:
    sizes = dict.fromkeys(each.shape[:2] for each in trunk if len(each.shape) == 3)
    listed = ", ".join(f"{height} × {width}" for height, width in sizes)
    return (
        f"{application} has no map for level {level}: of {_PROBE[0]} × {_PROBE[1]} pixels it must be {size[0]} × "
        f"{size[1]}, and the maps through which all of the image passes are {listed}. Its convolutions do not pad, "
        f"later layers also read earlier maps, or it skips that stride. Choose other levels or another application."
    )
