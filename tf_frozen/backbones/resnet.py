"""ResNet and ResNet-RS: Model Garden's networks, so that its published checkpoints fit them."""

from __future__ import annotations

from types import ModuleType
from typing import Annotated

import gin
import tensorflow as tf

from tf_frozen.backbones.backbone import PRETRAINED_MODES, Backbone, checked_levels, restored_by_keras
from tf_frozen.backbones.model_garden_checkpoint import load_model_garden_checkpoint
from tf_frozen.backbones.residual_adapters import ResidualAdapters
from tf_frozen.config.ranges import Fraction, Level, PositiveFraction, PositiveInt, Range, Rate
from tf_frozen.errors import ConfigError
from tf_frozen.keras_flavor import keras

# ImageNet's mean and standard deviation of red, green and blue in 0…1, as Model Garden normalizes them.
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

# Below, the narrowest convolution would have no channel.
DepthMultiplier = Annotated[float, Range(1 / 32, 32)]


@gin.configurable
@keras.utils.register_keras_serializable("tf_frozen")
class ResNet(Backbone):
    """ResNet of 10 to 420 layers, maps at strides 4 to 32 (He et al. 2016; Bello et al. 2021, arXiv 2103.07579).

    Arguments are Model Garden's, defaults those of its plain ResNets as published: ReLU, a norm epsilon of 1e-5. Depths
    below 50 have no ResNet-D shortcut, whatever `resnetd_shortcut` says. `init_checkpoint` is a folder, a prefix, a
    .tar.gz or its http(s) address (see `load_model_garden_checkpoint`); 'scratch' and 'frozen_random' do not read it.
    There is no kernel regularizer: weight decay is the detector's. Stochastic depth works in modes that train more than
    adapters, and draws from TensorFlow's global generator. Raises ConfigError for a depth, level or setting that does
    not exist and for a checkpoint that does not fit, FreezeError when random weights would be frozen.
    """

    published_norm_epsilon = 1e-5  # of Model Garden's published checkpoints

    def __init__(
        self,
        model_id: PositiveInt = 50,
        levels: tuple[Level, ...] = (2, 3, 4, 5),
        mode: str = "frozen",
        init_checkpoint: str | None = None,
        activation: str = "relu",
        stem_type: str = "v0",
        resnetd_shortcut: bool = False,
        replace_stem_max_pool: bool = False,
        scale_stem: bool = True,
        se_ratio: Fraction | None = None,
        depth_multiplier: DepthMultiplier = 1.0,
        init_stochastic_depth_rate: Rate = 0.0,
        norm_momentum: Fraction = 0.99,
        norm_epsilon: PositiveFraction = 1e-5,
        use_sync_bn: bool = False,
        adapters: ResidualAdapters | None = None,
        **kwargs,
    ):
        where = type(self).__name__
        levels = checked_levels(levels, range(2, 6), where)
        _check(where, model_id, stem_type)
        # The network's blocks do not need AutoGraph, which takes a quarter of the time.
        whole = tf.autograph.experimental.do_not_convert(_model_garden().ResNet)(
            model_id,
            activation=activation,
            stem_type=stem_type,
            resnetd_shortcut=resnetd_shortcut,
            replace_stem_max_pool=replace_stem_max_pool,
            scale_stem=scale_stem,
            se_ratio=se_ratio,
            depth_multiplier=depth_multiplier,
            init_stochastic_depth_rate=init_stochastic_depth_rate,
            norm_momentum=norm_momentum,
            norm_epsilon=norm_epsilon,
            use_sync_bn=use_sync_bn,
            name=f"resnet_{model_id}",
        )
        source = None
        if mode in PRETRAINED_MODES and init_checkpoint is not None:
            if not restored_by_keras():
                load_model_garden_checkpoint(whole, str(init_checkpoint))
            source = f"{where}-{model_id}, {init_checkpoint}"
        maps = [whole.output[str(level)] for level in levels]
        super().__init__(keras.Model(whole.inputs, maps, name=whole.name), levels, mode, source, adapters, **kwargs)
        self.model_id = model_id
        self.init_checkpoint = None if init_checkpoint is None else str(init_checkpoint)
        self.activation, self.stem_type = activation, stem_type
        self.resnetd_shortcut, self.replace_stem_max_pool = resnetd_shortcut, replace_stem_max_pool
        self.scale_stem, self.se_ratio, self.depth_multiplier = scale_stem, se_ratio, depth_multiplier
        self.init_stochastic_depth_rate = init_stochastic_depth_rate
        self.norm_momentum, self.use_sync_bn = norm_momentum, use_sync_bn

    def preprocess(self, images: tf.Tensor) -> tf.Tensor:
        """Maps RGB in 0…255 to (x / 255 − mean) / deviation of ImageNet."""
        return (tf.cast(images, tf.float32) / 255.0 - _MEAN) / _DEVIATION


@gin.configurable
@keras.utils.register_keras_serializable("tf_frozen")
class ResNetRS(ResNet):
    """ResNet-RS as the paper uses it: ResNet-D stem and shortcuts, strided convolution for max-pool, SE, swish.

    Defaults are the settings of the paper's official YAMLs with the norm epsilon of the published weights. Those of
    `keras.applications.ResNetRS*` use ReLU and are not interchangeable with these. Raises what ResNet raises.
    """

    def __init__(
        self,
        model_id: PositiveInt = 101,
        levels: tuple[Level, ...] = (2, 3, 4, 5),
        mode: str = "frozen",
        init_checkpoint: str | None = None,
        activation: str = "swish",
        stem_type: str = "v1",
        resnetd_shortcut: bool = True,
        replace_stem_max_pool: bool = True,
        scale_stem: bool = True,
        se_ratio: Fraction | None = 0.25,
        depth_multiplier: DepthMultiplier = 1.0,
        init_stochastic_depth_rate: Rate = 0.0,
        norm_momentum: Fraction = 0.99,
        norm_epsilon: PositiveFraction = 1e-5,
        use_sync_bn: bool = False,
        adapters: ResidualAdapters | None = None,
        **kwargs,
    ):
        super().__init__(
            model_id=model_id,
            levels=levels,
            mode=mode,
            init_checkpoint=init_checkpoint,
            activation=activation,
            stem_type=stem_type,
            resnetd_shortcut=resnetd_shortcut,
            replace_stem_max_pool=replace_stem_max_pool,
            scale_stem=scale_stem,
            se_ratio=se_ratio,
            depth_multiplier=depth_multiplier,
            init_stochastic_depth_rate=init_stochastic_depth_rate,
            norm_momentum=norm_momentum,
            norm_epsilon=norm_epsilon,
            use_sync_bn=use_sync_bn,
            adapters=adapters,
            **kwargs,
        )


def _model_garden() -> ModuleType:
    """Returns Model Garden's module; its import takes half a second, which no other backbone should cost."""
    from official.vision.modeling.backbones import resnet

    return resnet


def _check(where: str, model_id: int, stem_type: str) -> None:
    known = tuple(_model_garden().RESNET_SPECS)
    if model_id not in known:
        raise ConfigError(f"{where}.model_id is {model_id!r}; it must be one of {', '.join(map(str, known))}.")
    if stem_type not in ("v0", "v1"):
        raise ConfigError(f"{where}.stem_type is {stem_type!r}; it must be 'v0' (7×7) or 'v1' (three 3×3, ResNet-D).")
