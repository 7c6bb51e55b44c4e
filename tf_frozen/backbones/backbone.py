"""The base class of backbones: feature maps at known strides, preprocessing, and a mode that freezes them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import tensorflow as tf

from tf_frozen.backbones.residual_adapters import ResidualAdapters, adapted_convs
from tf_frozen.backbones.stages import Stages
from tf_frozen.errors import ConfigError, FreezeError
from tf_frozen.keras_flavor import keras
from tf_frozen.layers.configured import Configured

MODES_WITH_ADAPTERS = ("frozen_with_adapters", "fine_tune_with_adapters")
PRETRAINED_MODES = ("frozen", "fine_tune", *MODES_WITH_ADAPTERS)
MODES = (*PRETRAINED_MODES, "scratch", "frozen_random")
_FROZEN_MODES = ("frozen", "frozen_random")
_BATCH_NORMS = (keras.layers.BatchNormalization, keras.layers.experimental.SyncBatchNormalization)


class Backbone(Configured, keras.Model):
    """A network that maps preprocessed images [batch, H, W, 3] to {level: [batch, ⌈H/2^level⌉, ⌈W/2^level⌉, channels]}.

    `frozen` keeps pretrained weights as they are (paper, section 3), `fine_tune` trains them, `scratch` trains
    random ones, and `frozen_random` keeps random ones, a control experiment that is never the default.
    `frozen_with_adapters` trains residual adapters alone, and `fine_tune_with_adapters` trains them and all weights;
    `adapters` says where they are added; other modes have none. Setting `trainable` of a model around a frozen backbone
    does not make it train; setting that of the backbone or its layers does. Raises FreezeError when weights that were
    never trained would be frozen, ConfigError for an unknown mode and for one that lacks adapters.
    """

    def __init__(
        self,
        network: keras.Model,
        levels: tuple[int, ...],
        mode: str,
        weights_source: str | None,
        adapters: ResidualAdapters | Mapping | None = None,
        /,
        **kwargs,
    ):
        self._trains, self._mode = True, mode
        super().__init__(**kwargs)
        _check_mode(mode, weights_source, type(self).__name__)
        self.adapters = None
        if mode in MODES_WITH_ADAPTERS:
            self.adapters = keras.layers.deserialize(adapters) if isinstance(adapters, Mapping) else adapters
            network = self._with_adapters(network)
        self.network = network
        self.levels = tuple(levels)
        self._stages = Stages(network, self.levels) if isinstance(network, keras.Model) else None
        self.mode = mode
        self.weights_source = weights_source
        self.trainable = mode not in _FROZEN_MODES
        if mode == "frozen_with_adapters":
            self._freeze_all_but_adapters()

    @property
    def trainable(self) -> bool:
        """Whether the backbone trains; to set it sets that of all its layers, as in Keras."""
        return self._trains

    @trainable.setter
    def trainable(self, value: bool) -> None:
        keras.Model.trainable.fset(self, value)
        self._trains = value

    @property
    def _trainable(self) -> bool:
        return self._trains

    @_trainable.setter
    def _trainable(self, value: bool) -> None:
        # Keras writes it when the `trainable` of a model around it is set.
        self._trains = value and (self._trains or self._mode not in _FROZEN_MODES)

    @property
    def trainable_weights(self) -> list[tf.Variable]:
        """The weights that an optimizer updates: of a backbone frozen but for its adapters theirs alone."""
        weights = super().trainable_weights
        if self._mode != "frozen_with_adapters":
            return weights
        adapters = set(map(id, self.adapter_variables))
        return [weight for weight in weights if id(weight) in adapters]

    @property
    def non_trainable_weights(self) -> list[tf.Variable]:
        """All other weights, moving statistics among them."""
        trained = set(map(id, self.trainable_weights))
        held = [weight for weight in super().trainable_weights if id(weight) not in trained]
        return [*super().non_trainable_weights, *held]

    @property
    def channels(self) -> Mapping[int, int]:
        """Channels of each level's map."""
        return {level: int(output.shape[-1]) for level, output in zip(self.levels, self.network.outputs, strict=True)}

    @property
    def norm_epsilon(self) -> float | None:
        """The epsilon of the network's batch norms, None without any.

        Raises ConfigError where the norms differ: one number would be wrong for some of them.
        """
        epsilons = {layer.epsilon for layer in self.network.submodules if isinstance(layer, _BATCH_NORMS)}
        if len(epsilons) > 1:
            raise ConfigError(
                f"The batch norms of {type(self).__name__} ({self.network.name}) have several epsilons, "
                f"{', '.join(map(str, sorted(epsilons)))}; read each layer's own."
            )
        return epsilons.pop() if epsilons else None

    @property
    def frozen(self) -> bool:
        """Whether no weight of the backbone trains."""
        return not self.trainable_variables

    @property
    def graph_digest(self) -> str | None:
        """The SHA-256 (hex) of the graph, where class, configuration and weights do not tell it."""
        return None

    @property
    def stage_layers(self) -> dict[str, keras.layers.Layer]:
        """The layers by stage and name, as 'stage_3/stem_conv'; empty for a network that is not functional.

        Stage k holds the layers that the feature map of level k needs and no lower one does.
        """
        return self._stages.layers if self._is_functional else {}

    @property
    def adapter_variables(self) -> list[tf.Variable]:
        """The variables of residual adapters, which train in a backbone that is frozen otherwise."""
        return [conv.adapter.kernel for conv in adapted_convs(self)]

    def preprocess(self, images: tf.Tensor) -> tf.Tensor:
        """Maps RGB in 0…255 to what the weights were trained on, both [batch, H, W, 3] float32."""
        raise NotImplementedError(f"{type(self).__name__} must say how its weights want their images.")

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> dict[int, tf.Tensor]:
        """Runs the network on preprocessed images; what is frozen of it always in inference mode."""
        # Only adapters train: no stochastic depth, so that at step 0 the network is the plain frozen one.
        training = training and self.mode != "frozen_with_adapters"
        images = self.padded(inputs)
        if training and self._trains_in_part:
            return self.cut(self._stages.features(images, {}, training), inputs)
        # Keras gives a lone output without its list.
        maps = tf.nest.flatten(self.network(images, training=training and not self.frozen))
        return self.cut(dict(zip(self.levels, maps, strict=True)), inputs)

    def frozen_features(self, images: tf.Tensor) -> dict[int, tf.Tensor]:
        """The feature maps of preprocessed images that depend on no trainable weight: they need no gradient."""
        if self.frozen:
            return self(images, training=False)
        if not self._trains_in_part:
            return {}
        return self._stages.frozen_features(self.padded(tf.cast(images, self.compute_dtype)))

    def training_features(self, images: tf.Tensor, frozen: dict[int, tf.Tensor]) -> dict[int, tf.Tensor]:
        """All feature maps for a training step; `frozen` are those of `frozen_features`."""
        if self.frozen:
            return frozen
        if not frozen:
            return self(images, training=True)
        padded = self.padded(tf.cast(images, self.compute_dtype))
        training = self.mode != "frozen_with_adapters"
        return self.cut(self._stages.features(padded, frozen, training), images)

    def padded(self, images: tf.Tensor) -> tf.Tensor:
        """The images, padded where the network needs it; unchanged by default."""
        return images

    def cut(self, maps: dict[int, tf.Tensor], images: tf.Tensor) -> dict[int, tf.Tensor]:
        """The part of the maps of padded images that belongs to the images."""
        return maps

    def _argument(self, name: str) -> Any:
        # Keras has `weights` for the variables.
        return super()._argument("weights_argument" if name == "weights" else name)

    def _with_adapters(self, network: keras.Model) -> keras.Model:
        if self.adapters is None:
            where = type(self).__name__
            raise ConfigError(
                f"{where}.mode is {self._mode!r} but {where}.adapters is None. Give ResidualAdapters(); in gin, "
                f"{where}.adapters = @ResidualAdapters()."
            )
        return self.adapters.insert(network)

    def _freeze_all_but_adapters(self) -> None:
        adapters = {id(conv.adapter) for conv in adapted_convs(self)}
        for layer in self.network.submodules:
            if isinstance(layer, keras.layers.Layer) and adapters.isdisjoint(map(id, (layer, *layer.submodules))):
                layer.trainable = False

    @property
    def _is_functional(self) -> bool:
        return self._stages is not None and bool(self.network.outputs)

    @property
    def _trains_in_part(self) -> bool:
        return self._is_functional and self._stages.trains_in_part


def restored_by_keras() -> bool:
    """Whether Keras is making the layers of a .keras file, which holds their weights: no other source is read."""
    # Keras has no public API for this; it shares objects only while it saves or loads a whole model.
    return getattr(keras.src.saving.serialization_lib.SHARED_OBJECTS, "enabled", False)


def checked_levels(levels: Iterable[int], known: Collection[int], where: str) -> tuple[int, ...]:
    """The levels as a tuple; raises ConfigError unless they rise and are all among the consecutive `known`."""
    found = tuple(levels) if isinstance(levels, Iterable) else ()
    if not found or not set(found) <= set(known) or sorted(set(found)) != list(found):
        raise ConfigError(
            f"{where}.levels is {levels!r}; it must be rising levels out of {min(known)} to {max(known)}."
        )
    return found


def _check_mode(mode: str, weights_source: str | None, where: str) -> None:
    if mode not in MODES:
        raise ConfigError(f"{where}.mode is {mode!r}; it must be one of {', '.join(map(repr, MODES))}.")
    if mode in PRETRAINED_MODES and weights_source is None:
        raise FreezeError(
            f"{where}.mode is {mode!r} but the backbone has no pretrained weights, so random ones would be used. "
            f"Give weights, or ask for random ones by name: BACKBONE_MODE = 'scratch' to train them, "
            f"'frozen_random' to freeze them."
        )
