"""EfficientNet-Lite 0–4: EfficientNet without squeeze-excite and with ReLU6 (tensorflow/tpu, efficientnet/lite)."""

from __future__ import annotations

import math
import zipfile
from importlib import resources

import gin
import numpy as np
import tensorflow as tf

from tf_frozen.backbones.backbone import Backbone, checked_levels, restored_by_keras
from tf_frozen.backbones.residual_adapters import ResidualAdapters
from tf_frozen.config.ranges import Level, NonNegativeInt
from tf_frozen.errors import ConfigError
from tf_frozen.keras_flavor import keras

# kernel, repeats, channels out, expansion, stride: the EfficientNet-B0 table (Tan and Le 2019, Table 1)
_STAGES = (
    (3, 1, 16, 1, 1),
    (3, 2, 24, 6, 2),
    (5, 2, 40, 6, 2),
    (3, 3, 80, 6, 2),
    (5, 3, 112, 6, 1),
    (5, 4, 192, 6, 2),
    (3, 1, 320, 6, 1),
)
_WIDTH_DEPTH = ((1.0, 1.0), (1.0, 1.1), (1.1, 1.2), (1.2, 1.4), (1.4, 1.8))
_EMBEDDED = {0: "efficientnet_lite0_imagenet_notop_float16.npz"}
_BN_EPSILON = 1e-3


@gin.configurable
@keras.utils.register_keras_serializable("tf_frozen")
class EfficientNetLite(Backbone):
    """EfficientNet-Lite, feature maps at strides 4 to 32; Lite0 has its ImageNet weights (75.1 % top-1 as published).

    `weights` is 'imagenet' (embedded, Lite0 only), the path of an .npz with the same keys, or None. Raises ConfigError
    when the weights do not exist for the variant, FreezeError when random weights would be frozen.
    """

    def __init__(
        self,
        variant: NonNegativeInt = 0,
        levels: tuple[Level, ...] = (3, 4, 5),
        mode: str = "frozen",
        weights: str | None = "imagenet",
        adapters: ResidualAdapters | None = None,
        **kwargs,
    ):
        network = _network(variant, tuple(levels))
        random = mode in ("scratch", "frozen_random")
        source = None if random or weights is None else f"EfficientNet-Lite{variant}, {weights}"
        if source is not None and not restored_by_keras():
            _load(network, variant, weights)
        super().__init__(network, levels, mode, source, adapters, **kwargs)
        self.variant, self.weights_argument = variant, weights

    def preprocess(self, images: tf.Tensor) -> tf.Tensor:
        """Maps 0…255 to about −1…1 as the weights were trained: (x − 127) / 128."""
        return (tf.cast(images, tf.float32) - 127.0) / 128.0


def _network(variant: int, levels: tuple[int, ...]) -> keras.Model:
    """The functional network up to the highest level; the map of a level is the last of its stride."""
    if variant not in range(len(_WIDTH_DEPTH)):
        raise ConfigError(f"EfficientNetLite.variant is {variant!r}; it must be 0 to 4.")
    levels = checked_levels(levels, range(1, 6), "EfficientNetLite")
    width, depth = _WIDTH_DEPTH[variant]
    inputs = keras.Input([None, None, 3], name="images")
    x = _conv_bn(inputs, 32, 3, stride=2, conv="stem_conv", norm="stem_bn")
    maps, level, block = {}, 1, 0
    for stage, (kernel, repeats, filters, expansion, stride) in enumerate(_STAGES):
        if stride == 2:
            level += 1
        if level > max(levels):
            break
        # The first and last stage keep their depth in every Lite variant, as does the stem its width.
        fixed = stage in (0, len(_STAGES) - 1)
        for repeat in range(repeats if fixed else math.ceil(repeats * depth)):
            x = _inverted_residual(
                x,
                _round_filters(filters * width),
                kernel,
                expansion,
                stride if repeat == 0 else 1,
                f"b{block}",
            )
            block += 1
        maps[level] = x
    return keras.Model(inputs, [maps[level] for level in levels], name=f"efficientnet_lite{variant}")


def _inverted_residual(x, filters: int, kernel: int, expansion: int, stride: int, name: str):
    shortcut, channels = x, x.shape[-1]
    if expansion != 1:
        x = _conv_bn(x, channels * expansion, 1, conv=f"{name}_expand", norm=f"{name}_bn0")
    x = keras.layers.DepthwiseConv2D(kernel, stride, padding="same", use_bias=False, name=f"{name}_dw")(x)
    x = keras.layers.BatchNormalization(epsilon=_BN_EPSILON, name=f"{name}_bn1")(x)
    x = keras.layers.ReLU(6.0, name=f"{name}_relu1")(x)
    x = _conv_bn(x, filters, 1, conv=f"{name}_project", norm=f"{name}_bn2", activate=False)
    if stride == 1 and channels == filters:
        x = keras.layers.Add(name=f"{name}_add")([x, shortcut])
    return x


def _conv_bn(x, filters: int, kernel: int, conv: str, norm: str, stride: int = 1, activate: bool = True):
    x = keras.layers.Conv2D(filters, kernel, stride, padding="same", use_bias=False, name=conv)(x)
    x = keras.layers.BatchNormalization(epsilon=_BN_EPSILON, name=norm)(x)
    return keras.layers.ReLU(6.0, name=f"{norm}_relu")(x) if activate else x


def _round_filters(filters: float) -> int:
    """Rounds to a multiple of 8, never down by more than a tenth."""
    rounded = max(8, int(filters + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * filters else rounded + 8


def _load(network: keras.Model, variant: int, weights: str) -> None:
    if weights == "imagenet":
        if variant not in _EMBEDDED:
            raise ConfigError(
                f"EfficientNetLite.weights is 'imagenet', but only Lite0 brings them and the variant is {variant}. "
                f"Give the path of an .npz with the same keys, or use variant 0."
            )
        file = resources.files("tf_frozen.backbones") / "weights" / _EMBEDDED[variant]
    else:
        file = weights
    try:
        with file.open("rb") if hasattr(file, "open") else open(file, "rb") as stream:
            arrays = dict(np.load(stream))
    except (OSError, ValueError, EOFError, TypeError, zipfile.BadZipFile) as error:
        raise ConfigError(f"EfficientNetLite.weights is {weights!r}, which can't be read as .npz: {error}") from error
    for layer in network.layers:
        if layer.weights:
            layer.set_weights(_arrays_of(layer, arrays, weights))


def _arrays_of(layer: keras.layers.Layer, arrays: dict[str, np.ndarray], weights: str) -> list[np.ndarray]:
    """The arrays `layer/0`, `layer/1`, … as float32, checked against the layer's shapes."""
    found = []
    for index, variable in enumerate(layer.weights):
        array = arrays.get(f"{layer.name}/{index}")
        if array is None or array.shape != tuple(variable.shape):
            got = "is missing" if array is None else f"has shape {array.shape}"
            raise ConfigError(
                f"EfficientNetLite.weights {weights!r}: {layer.name}/{index} {got}, "
                f"the network needs {tuple(variable.shape)}; the file is of another network."
            )
        found.append(array.astype(np.float32))
    return found
