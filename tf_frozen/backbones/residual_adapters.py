"""Residual adapters: small kernels that train beside the frozen convolutions of a backbone."""

from __future__ import annotations

import collections
import contextlib
from collections.abc import Iterator

import gin
import tensorflow as tf

from tf_frozen.errors import ConfigError
from tf_frozen.keras_flavor import keras
from tf_frozen.layers.configured import ConfiguredLayer

KINDS = ("parallel", "series")


@gin.configurable
@keras.utils.register_keras_serializable("tf_frozen")
class ResidualAdapters(ConfiguredLayer):
    """Adds adapters to a backbone: beside each k×k convolution behind the stem, k odd and above 1.

    'parallel' is y = W∗x + α∗x (Rebuffi et al. 2018, arXiv 1803.10082), 'series' y = W∗x + α∗(W∗x) (2017, arXiv
    1705.08045), both before bias, norm and activation, with α a 1×1 convolution in the groups of its convolution, zero
    at first. With `depthwise` also beside depthwise convolutions, with one weight a channel. The stem is what comes
    before the first branch of the network. Raises ConfigError for another kind.
    """

    def __init__(self, kind: str = "parallel", depthwise: bool = False, **kwargs):
        super().__init__(**kwargs)
        if kind not in KINDS:
            raise ConfigError(f"ResidualAdapters.kind is {kind!r}; it must be one of {', '.join(map(repr, KINDS))}.")
        self.kind, self.depthwise = kind, depthwise

    def insert(self, network: keras.Model) -> keras.Model:
        """The functional network with adapters, which shares all its layers; ConfigError where none would fit."""
        stem = {id(layer) for layer in _stem(network)}

        def adapted(layer: keras.layers.Layer) -> keras.layers.Layer:
            if self._fits(layer):
                outside = id(layer) not in stem or isinstance(layer, keras.layers.DepthwiseConv2D)
                return AdaptedConv(layer, self.kind) if outside else layer
            for module in (layer, *layer.submodules):
                for name, inner in list(vars(module).items()):
                    if self._fits(inner):
                        setattr(module, name, AdaptedConv(inner, self.kind))
            return layer

        found = keras.models.clone_model(network, clone_function=adapted)
        if not adapted_convs(found):
            raise ConfigError(
                f"No convolution of {network.name} takes a residual adapter: behind its stem, which ends at the first "
                f"branch, none has an odd kernel above 1×1{'' if self.depthwise else ' that is not depthwise'}. "
                f"{'' if self.depthwise else 'Set ResidualAdapters.depthwise = True, as for EfficientNets, or '}"
                f"{'Set' if self.depthwise else 'set'} BACKBONE_MODE = 'frozen' or 'fine_tune'."
            )
        return found

    def _fits(self, layer: object) -> bool:
        # Subclasses, as transposed convolutions, may compute something else.
        kinds = (keras.layers.Conv2D, *([keras.layers.DepthwiseConv2D] if self.depthwise else []))
        return type(layer) in kinds and all(side > 1 and side % 2 for side in layer.kernel_size)


class AdaptedConv(keras.layers.Layer):
    """A convolution whose kernel is that of `conv` with an adapter in it.

    Both kinds are linear in the same window, so one convolution computes them: exact for every stride, padding and
    size, and bit for bit what an export with the folded adapter computes.
    """

    def __init__(self, conv: keras.layers.Conv2D | keras.layers.DepthwiseConv2D, kind: str):
        super().__init__(name=conv.name)
        self.conv, self.adapter, self._kind = conv, _Adapter(conv, kind), kind

    @property
    def frozen_kernel(self) -> tf.Variable:
        """The kernel of the convolution, [k, k, channels in a group, channels out]."""
        return _kernel(self.conv)

    def folded_kernel(self) -> tf.Tensor:
        """The kernel that does the work of both, in the shape of `frozen_kernel`."""
        kernel, adapter = tf.convert_to_tensor(self.frozen_kernel), tf.convert_to_tensor(self.adapter.kernel)
        if self._kind == "parallel":
            margins = [[side // 2, side // 2] for side in self.conv.kernel_size]
            return kernel + tf.pad(adapter, [*margins, [0, 0], [0, 0]])
        if isinstance(self.conv, keras.layers.DepthwiseConv2D):
            return kernel + kernel * adapter
        height, width, inputs, filters = kernel.shape
        groups = self.conv.groups
        by_group = tf.reshape(kernel, [height, width, inputs, groups, -1])
        mix = tf.reshape(adapter, [filters // groups, groups, -1])
        return kernel + tf.reshape(tf.einsum("hwigm,mgn->hwign", by_group, mix), kernel.shape)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Computes the adapted convolution of [batch, H, W, C]."""
        kernel = self.folded_kernel() if self.adapter.enabled else self.frozen_kernel
        if isinstance(self.conv, keras.layers.DepthwiseConv2D):
            options = {name: getattr(self.conv, name) for name in ("strides", "padding", "dilation_rate")}
            outputs = keras.backend.depthwise_conv2d(inputs, kernel, data_format=self.conv.data_format, **options)
        else:
            outputs = self.conv.convolution_op(inputs, kernel)
        if self.conv.use_bias:
            outputs = tf.nn.bias_add(outputs, self.conv.bias)
        return self.conv.activation(outputs)


class _Adapter(keras.layers.Layer):
    """The weights of one adapter; `enabled` is False while they are folded into the convolution."""

    def __init__(self, conv: keras.layers.Layer, kind: str):
        super().__init__(name="adapter")
        *_, inputs, outputs = _kernel(conv).shape
        if kind == "series" and not isinstance(conv, keras.layers.DepthwiseConv2D):
            inputs = outputs // conv.groups
        self.kernel = self.add_weight("kernel", [1, 1, inputs, outputs], initializer="zeros")
        self.enabled = self.built = True


def adapted_convs(model: keras.Model) -> list[AdaptedConv]:
    """The convolutions of a network, backbone or detector that have an adapter."""
    return [module for module in model.submodules if isinstance(module, AdaptedConv)]


@contextlib.contextmanager
def folded(model: keras.Model) -> Iterator[None]:
    """Adapters work inside the kernels of their convolutions for as long as the context lasts.

    What is traced in it has no op and no variable of an adapter. Afterwards every weight is what it was.
    """
    convs = adapted_convs(model)
    kernels = [tf.identity(conv.frozen_kernel) for conv in convs]
    try:
        for conv in convs:
            conv.frozen_kernel.assign(conv.folded_kernel())
            conv.adapter.enabled = False
        yield
    finally:
        for conv, kernel in zip(convs, kernels, strict=True):
            conv.frozen_kernel.assign(kernel)
            conv.adapter.enabled = True


def _kernel(conv: keras.layers.Layer) -> tf.Variable:
    return conv.depthwise_kernel if isinstance(conv, keras.layers.DepthwiseConv2D) else conv.kernel


def _stem(network: keras.Model) -> list[keras.layers.Layer]:
    """The layers before the first branch: before a map that several layers read, or a layer made of layers."""
    reads = [
        (layer, tensor) for layer in network.layers for node in layer.inbound_nodes for tensor in node.keras_inputs
    ]
    readers = collections.Counter(id(tensor) for _, tensor in reads)
    branches = {id(layer) for layer, tensor in reads if readers[id(tensor)] > 1}
    stem = []
    for layer in network.layers:  # sorted so that each comes after what it reads
        if id(layer) in branches or any(isinstance(inner, keras.layers.Layer) for inner in layer.submodules):
            break
        stem.append(layer)
    return stem
