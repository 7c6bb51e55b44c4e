"""Any SavedModel that maps images to a pyramid as a frozen backbone, whatever framework wrote it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gin
import tensorflow as tf

from tf_frozen.backbones import any_size
from tf_frozen.backbones.backbone import Backbone, checked_levels
from tf_frozen.config.ranges import FiniteFloat, Frame, Level, PositiveFloat
from tf_frozen.config.suggest import did_you_mean
from tf_frozen.errors import ConfigError
from tf_frozen.keras_flavor import keras

_SERVING = tf.saved_model.DEFAULT_SERVING_SIGNATURE_DEF_KEY


@gin.configurable
@keras.utils.register_keras_serializable("tf_frozen")
class SavedModelBackbone(Backbone):
    """A SavedModel as a backbone: the map of level l is its output of stride 2^l.

    It is called as an object, or through its signature `signature`, with float32 [batch, H, W, 3], or what type the
    signature has; without `signature`, an object that cannot be called is used by its 'serving_default' or only one.
    Outputs are a dictionary, a list or one map. Those of other strides are ignored; of several maps of one stride, the
    one whose name ends in the level is used. `size` is the only (height, width) that it takes, None if it
    takes any whose sides are multiples of the highest stride: others are padded with zeros at the bottom and right.

    Its variables are frozen weights of the backbone; a frozen graph, whose weights are constants, has none to count or
    to fingerprint. `norm_epsilon` is None, since a SavedModel does not state it. Raises ConfigError where there is no
    SavedModel or signature, or the outputs lack a level, and for every mode but 'frozen': the saved
    function is for inference, and whether it has a training mode is unknown.
    """

    def __init__(
        self,
        path: str,
        levels: tuple[Level, ...] = (3, 4, 5),
        mode: str = "frozen",
        signature: str | None = None,
        size: Frame | None = None,
        mean: tuple[FiniteFloat, FiniteFloat, FiniteFloat] = (0.0, 0.0, 0.0),
        deviation: tuple[PositiveFloat, PositiveFloat, PositiveFloat] = (1.0, 1.0, 1.0),
        **kwargs,
    ):
        if mode != "frozen":
            raise ConfigError(
                f"SavedModelBackbone.mode is {mode!r}, but a SavedModel is a function for inference with weights of "
                f"its own: it can only be 'frozen'. Set BACKBONE_MODE = 'frozen'."
            )
        levels = checked_levels(levels, range(1, 8), "SavedModelBackbone")
        function = _function(path, signature)
        size = None if size is None else tuple(size)
        probe = size or tuple(sides * 2 ** max(levels) for sides in (2, 3))
        outputs, variables = _probe(function, path, probe)
        names = {level: _name(outputs, level, probe, path) for level in levels}
        # No autocast: the SavedModel has its own precision.
        super().__init__(_Network(function, variables), levels, mode, f"SavedModel {path}", autocast=False, **kwargs)
        self.path, self.signature, self.size = path, signature, size
        self.mean, self.deviation = tuple(mean), tuple(deviation)
        self._names = names
        self._channels = {level: outputs[name].shape[-1] for level, name in names.items()}

    @property
    def channels(self) -> Mapping[int, int]:
        """Channels of each level's map."""
        return dict(self._channels)

    @property
    def graph_digest(self) -> str:
        """The SHA-256 (hex) of the file that holds the graph, with what it has of constants."""
        with open(os.path.join(self.path, tf.saved_model.SAVED_MODEL_FILENAME_PB), "rb") as file:
            return hashlib.sha256(file.read()).hexdigest()

    def preprocess(self, images: tf.Tensor) -> tf.Tensor:
        """Maps RGB in 0…255 to (x − mean) / deviation."""
        return (tf.cast(images, tf.float32) - self.mean) / self.deviation

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> dict[int, tf.Tensor]:
        """Runs the SavedModel on preprocessed images."""
        images = tf.cast(inputs, tf.float32)
        if self.size is not None and tuple(images.shape[1:3]) != self.size:
            raise ConfigError(
                f"The SavedModel {self.path} takes images of {_times(self.size)} pixels (SavedModelBackbone.size), "
                f"but got {_times(images.shape[1:3])}. Set FRAME and the size of training images to that."
            )
        padded = any_size.pad(images, 2 ** max(self.levels)) if self.size is None else images
        outputs = _by_name(self.network(padded))
        maps = any_size.cut({level: outputs[name] for level, name in self._names.items()}, images)
        return {
            level: tf.cast(self._shaped(features, level, inputs), self.compute_dtype)
            for level, features in maps.items()
        }

    def _shaped(self, features: tf.Tensor, level: int, images: tf.Tensor) -> tf.Tensor:
        """The map with the shape that a function out of a SavedModel does not tell."""
        sides = [None if side is None else -(-side // 2**level) for side in images.shape[1:3]]
        return tf.ensure_shape(features, [images.shape[0], *sides, self._channels[level]])


class _Network(keras.layers.Layer):
    """The function of a SavedModel, and its variables by their names there."""

    def __init__(self, function: Callable[[tf.Tensor], Any], variables: Sequence[tf.Variable]):
        super().__init__(name="network", trainable=False, autocast=False)
        named = {}
        for variable in variables:
            name = variable.name.partition(":")[0].replace("/", ".")
            same = sum(other.partition("#")[0] == name for other in named)
            named[f"{name}#{same + 1}" if same else name] = variable
        self.saved_variables = named
        self._function = function

    def call(self, images: tf.Tensor) -> Any:
        """The SavedModel's outputs for images [batch, H, W, 3]."""
        return self._function(images)


def _function(path: str, signature: str | None) -> Callable[[tf.Tensor], Any]:
    """Returns the function from images to outputs, which keeps the SavedModel's resources alive."""
    if not isinstance(path, str) or not tf.saved_model.contains_saved_model(path):
        raise ConfigError(
            f"SavedModelBackbone.path is {path!r}, which is not a SavedModel: a folder with saved_model.pb in it. "
            f"TensorFlow writes one by tf.saved_model.save, Keras by model.export."
        )
    try:
        loaded = tf.saved_model.load(path)
    except (OSError, ValueError, RuntimeError, KeyError, tf.errors.OpError) as error:
        raise ConfigError(f"The SavedModel {path} cannot be loaded: {error}") from error
    if signature is None and callable(loaded):
        return lambda images: loaded(images)
    signatures = loaded.signatures
    if signature is None:
        signature = _SERVING if _SERVING in signatures or len(signatures) != 1 else next(iter(signatures))
    if signature not in signatures:
        raise ConfigError(
            f"SavedModelBackbone.signature is {signature!r}, but the SavedModel {path} "
            f"{'can' if callable(loaded) else 'cannot'} be called as an object and has the signatures "
            f"{', '.join(map(repr, signatures)) or '(none)'}.{did_you_mean(str(signature), signatures)}"
        )
    arguments = signatures[signature].structured_input_signature[1]
    if len(arguments) != 1:
        raise ConfigError(
            f"The signature {signature!r} of the SavedModel {path} takes {', '.join(sorted(arguments)) or 'nothing'}; "
            f"a backbone's takes images alone."
        )
    ((argument, spec),) = arguments.items()
    return lambda images: loaded.signatures[signature](**{argument: tf.cast(images, spec.dtype)})


def _probe(
    function: Callable[[tf.Tensor], Any], path: str, size: tuple[int, int]
) -> tuple[dict[str, tf.Tensor], Sequence[tf.Variable]]:
    """The outputs for two images of that size, and the variables that made them."""
    try:
        traced = tf.function(function).get_concrete_function(tf.TensorSpec([None, *size, 3]))
        return _by_name(traced(tf.zeros([2, *size, 3]))), traced.variables
    except (TypeError, ValueError, tf.errors.OpError) as error:
        raise ConfigError(
            f"The SavedModel {path} does not take two images of {_times(size)} pixels, float32 [2, {size[0]}, "
            f"{size[1]}, 3]: {error}\nSave it for [None, None, None, 3], or for one size and give that as "
            f"SavedModelBackbone.size, or name another SavedModelBackbone.signature."
        ) from error


def _by_name(outputs: Any) -> dict[str, tf.Tensor]:
    named = outputs.items() if isinstance(outputs, Mapping) else enumerate(tf.nest.flatten(outputs))
    return {str(name): output for name, output in named}


def _name(outputs: Mapping[str, tf.Tensor], level: int, size: tuple[int, int], path: str) -> str:
    """The name of the output that is the map of this level."""
    wanted = tuple(-(-side // 2**level) for side in size)
    found = [name for name, output in outputs.items() if output.shape.rank == 4 and output.shape[1:3] == wanted]
    named = [name for name in found if name.endswith(str(level))]
    if len(found) != 1 and len(named) != 1:
        listed = ", ".join(f"{name!r} {_times(output.shape)}" for name, output in sorted(outputs.items()))
        raise ConfigError(
            f"{'Several outputs' if found else 'No output'} of the SavedModel {path} can be level {level}: of two "
            f"images of {_times(size)} pixels it must be 2 × {_times(wanted)} × channels, and the outputs are {listed}."
            f" {'End the name of the right one in the level.' if found else 'Choose other levels.'}"
        )
    return (found if len(found) == 1 else named)[0]


def _times(shape: Sequence[int | None]) -> str:
    return " × ".join("?" if side is None else str(side) for side in shape)
