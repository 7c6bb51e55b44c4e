"""Base class of detectors: runs the frozen part outside the gradient tape, sums the losses, trains a step."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from tf_frozen.backbones.backbone import Backbone
from tf_frozen.backbones.features import Features
from tf_frozen.config.ranges import Frame, NonNegativeFloat, Seed
from tf_frozen.detectors.loss_means import LossMeans
from tf_frozen.detectors.test_time_augmentation import TestTimeAugmentation
from tf_frozen.detectors.tiles import Tiles
from tf_frozen.errors import ConfigError, DataError
from tf_frozen.graph_function import GraphFunction
from tf_frozen.keras_flavor import keras
from tf_frozen.layers.building import build
from tf_frozen.layers.configured import Configured, check_argument, check_call


class Detector(Configured, keras.Model):
    """Backbone → neck → heads; a subclass implements the heads in `loss_parts` and `detect`.

    `frame` is the (height, width) in pixels that images are fitted into for scoring and in an export; training may
    use crops of another size. `weight_decay` λ adds ½λ‖w‖² over the kernels that train, and over no frozen one
    (official YAMLs: 4e-5). With `test_time_augmentation` it detects on flips of an image too. With `tiles`, scoring,
    prediction and an export cut images into overlapping frames instead of fitting each into one.
    """

    finds_masks = False  # whether `detect` gives masks beside the boxes
    detections: int | None = None  # the most that an image is given, None where no limit is known, as with tiles
    frozen_as_built: frozenset[str] | None = None  # paths of what was not trainable before the first policy

    def __init__(
        self,
        backbone: Backbone,
        neck: keras.layers.Layer,
        frame: Frame,
        weight_decay: NonNegativeFloat = 0.0,
        seed: Seed = 0,
        test_time_augmentation: TestTimeAugmentation | None = None,
        tiles: Tiles | None = None,
        **kwargs,
    ):
        # No autocast: pixels and box coordinates keep float32 where layers compute in half precision.
        super().__init__(autocast=False, **kwargs)
        self.backbone, self.neck = backbone, neck
        self.frame = tuple(frame)
        self.weight_decay, self.seed, self.tiles = weight_decay, seed, tiles
        self.test_time_augmentation = test_time_augmentation
        self._held: frozenset[int] = frozenset()
        self._means = LossMeans()
        self._compiled_for: frozenset[int] = frozenset()

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """The means of the losses, from which Keras makes the history and resets them at each epoch."""
        return self._means.metrics

    @property
    def trainable_weights(self) -> list[tf.Variable]:
        """The weights that an optimizer updates: those of layers that train, without the held ones."""
        return [weight for weight in super().trainable_weights if id(weight) not in self._held]

    @property
    def non_trainable_weights(self) -> list[tf.Variable]:
        """All other weights, moving statistics among them."""
        held = [weight for weight in super().trainable_weights if id(weight) in self._held]
        return [*super().non_trainable_weights, *held]

    @property
    def levels_read(self) -> list[int]:
        """The backbone's levels that the neck reads: all, unless the neck's `levels_in` says which."""
        levels_in = getattr(self.neck, "levels_in", list)
        return levels_in(self.backbone.channels)

    def hold(self, variables: Iterable[tf.Variable]) -> None:
        """Keeps these single weights of layers that train out of training, and no others; `compile` anew after it."""
        self._held = frozenset(map(id, variables))

    def loss_parts(
        self,
        pyramid: Mapping[int, tf.Tensor],
        frame: tuple[int, int],
        targets: Mapping,
        seed: tf.Tensor,
        training: bool = True,
    ) -> dict[str, tf.Tensor]:
        """The scalar losses of the heads by name; `seed` int32 [2] decides what is sampled."""
        raise NotImplementedError

    def detect(
        self, pyramid: Mapping[int, tf.Tensor], frame: tuple[int, int], image_size: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """Boxes [batch, D, 4] in frame pixels, scores, classes 1…K (0 is padding), and count [batch]."""
        raise NotImplementedError

    def call(self, images: tf.Tensor, image_size: tf.Tensor | None = None, training: bool | None = None) -> dict:
        """Detects on RGB frames [batch, H, W, 3] in 0…255; `image_size` [batch, 2] is the part that is not padding."""
        if self.test_time_augmentation is None:
            return self.detect_once(images, image_size, training)
        image_size = _whole(_frame(images), tf.shape(images)[0]) if image_size is None else image_size
        return self.test_time_augmentation.detect(
            functools.partial(self.detect_once, training=training), images, image_size
        )

    def detect_once(
        self, images: tf.Tensor, image_size: tf.Tensor | None = None, training: bool | None = None
    ) -> dict[str, tf.Tensor]:
        """Detects as `call` does, without test-time augmentation: one forward pass."""
        return self.detect_from(self.features(images, bool(training)), image_size, bool(training))

    def features(self, images: tf.Tensor | Features, training: bool = False) -> Features:
        """The backbone's feature maps of RGB frames [batch, H, W, 3] in 0…255; features, as of a cache, pass through.

        With `training` those maps alone that no trained weight changes, and the images from which the others are made
        inside the gradient tape. Another detector on the same backbone may use them too.
        """
        if isinstance(images, Features):
            return images.cast(self.backbone.compute_dtype)
        frame, preprocessed = _frame(images), self.backbone.preprocess(images)
        if training and not self.backbone.frozen:
            return Features.of(self.backbone.frozen_features(preprocessed), frame, preprocessed)
        return Features.of(self.backbone(preprocessed, training=False), frame)

    def detect_from(
        self, features: Features, image_size: tf.Tensor | None = None, training: bool = False
    ) -> dict[str, tf.Tensor]:
        """Detects from `features(images, training)`, without test-time augmentation; `image_size` as in `call`."""
        image_size = _whole(features.frame, features.batch_size) if image_size is None else image_size
        return self.detect(self._pyramid(features, training), features.frame, image_size)

    def losses_from(
        self, features: Features, targets: Mapping, seed: tf.Tensor | None = None, training: bool = False
    ) -> dict[str, tf.Tensor]:
        """The scalar losses of the heads by name, from `features(images, training)`, without weight decay.

        Targets without `image_size` are of frames without padding. `seed` int32 [2] decides what is sampled, the
        detector's own where it is None. Raises ConfigError for `training` with a backbone that trains on features
        without images, as those of a cache, DataError for targets of another batch or shape.
        """
        seed = tf.constant([self.seed, 0]) if seed is None else seed
        targets = {"image_size": _whole(features.frame, features.batch_size), **targets}
        _check_count(tf.get_static_value(features.batch_size), targets)
        return self.loss_parts(self._pyramid(features, training), features.frame, targets, seed, training)

    def compile(
        self,
        optimizer: keras.optimizers.Optimizer | str = "rmsprop",
        loss: None = None,
        metrics: None = None,
        **kwargs: Any,
    ) -> None:
        """As in Keras; makes the variables too, since a training step watches them before it calls a layer.

        Raises ConfigError for what another Keras made, and for a loss or metrics: the losses are those of the heads.
        """
        where = f"{type(self).__name__}.compile"
        for name, value in {"optimizer": optimizer, "loss": loss, "metrics": metrics, **kwargs}.items():
            check_argument(value, f"{where}.{name}")
            if value is not None and name in ("loss", "metrics", "loss_weights", "weighted_metrics"):
                raise ConfigError(
                    f"{where} got {name} = {value!r}. A detector's losses are those of its heads, and its scores come "
                    f"from tf_frozen.evaluation: omit it."
                )
        if not self.neck.built:
            build(self)
        super().compile(optimizer, **kwargs)
        self._compiled_for = frozenset(map(id, self.trainable_variables))

    def fit(self, *args: Any, **kwargs: Any) -> keras.callbacks.History:
        """As in Keras; ConfigError for callbacks of another Keras, and where what trains was set since `compile`."""
        self._check_call("fit", args, kwargs)
        self._check_compiled()
        return super().fit(*args, **kwargs)

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        """As in Keras; ConfigError for callbacks of another Keras."""
        self._check_call("evaluate", args, kwargs)
        return super().evaluate(*args, **kwargs)

    def predict(self, *args: Any, **kwargs: Any) -> Any:
        """As in Keras; ConfigError for callbacks of another Keras."""
        self._check_call("predict", args, kwargs)
        return super().predict(*args, **kwargs)

    def make_train_function(self, force: bool = False) -> Callable:
        """As in Keras; traced without AutoGraph where every layer allows that."""
        if self.train_function is None or force:
            self.train_function = _graph_function(super().make_train_function(force))
        return self.train_function

    def make_test_function(self, force: bool = False) -> Callable:
        """As in Keras; traced without AutoGraph where every layer allows that."""
        if self.test_function is None or force:
            self.test_function = _graph_function(super().make_test_function(force))
        return self.test_function

    def make_predict_function(self, force: bool = False) -> Callable:
        """As in Keras; traced without AutoGraph where every layer allows that."""
        if self.predict_function is None or force:
            self.predict_function = _graph_function(super().make_predict_function(force))
        return self.predict_function

    def train_on_batch(self, *args: Any, **kwargs: Any) -> Any:
        """As in Keras; ConfigError where what trains was set since `compile`."""
        self._check_compiled()
        return super().train_on_batch(*args, **kwargs)

    def load_weights(self, filepath: str, *args: Any, **kwargs: Any) -> Any:
        """As in Keras; makes the variables where the detector was never called. ConfigError for weights of another."""
        if not self.built:
            build(self)
        path = str(filepath)
        if not path.endswith((".h5", ".hdf5")) or path.endswith(".weights.h5"):
            return super().load_weights(filepath, *args, **kwargs)
        before = self.get_weights()  # Keras assigns one weight after the other until one does not fit
        try:
            return super().load_weights(filepath, *args, **kwargs)
        except ValueError as error:
            self.set_weights(before)
            raise ConfigError(
                f"{path} does not fit {self.name}: {error}\nFiles of this kind keep weights in an order that depends "
                f"on what trained. Load it into a detector of the mode that it was saved from, and save that as "
                f"'.weights.h5' or '.keras', which any mode loads."
            ) from error

    def save(self, filepath: str, *args: Any, **kwargs: Any) -> None:
        """As in Keras, to a .keras file; ConfigError for another kind, which cannot hold a detector."""
        if not str(filepath).endswith(".keras"):
            raise ConfigError(
                f"{self.name} cannot be saved as {str(filepath)!r}: give a file name that ends in .keras, or write a "
                f"SavedModel with tf_frozen.export."
            )
        if not self.built:
            build(self)
        super().save(filepath, *args, **kwargs)

    def build_from_config(self, config: dict[str, Any]) -> None:
        """Makes the variables, and sets what is trainable, as they were when the detector was saved."""
        build(self)
        super().build_from_config(config)

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles a detector that Keras loads, and makes the optimizer's variables for what was saved of them."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        if not isinstance(self.optimizer, keras.optimizers.legacy.Optimizer):
            self.optimizer.build(self.trainable_variables)

    def training_losses(self, images: tf.Tensor | Features, targets: Mapping) -> dict[str, tf.Tensor]:
        """The loss parts of a batch as a training step has them, without a gradient: for counting its work."""
        return self.losses_from(self.features(images, training=True), targets, training=True)

    def train_step(self, data: tuple[tf.Tensor | Features, Mapping]) -> dict[str, tf.Tensor]:
        """One step on (images, targets); gives the loss parts and their sum as 'loss'.

        Features of a frozen backbone may stand instead of its images; ConfigError where it is not frozen. DataError for
        a batch of another form.
        """
        gradients, losses = self.gradients(data)
        self.apply(gradients)
        self._means.update(losses)
        # Keras sums over replicas what a step returns: each gives its share of the mean.
        return {name: loss / _replicas() for name, loss in losses.items()}

    def gradients(
        self, data: tuple[tf.Tensor | Features, Mapping]
    ) -> tuple[list[tf.Tensor | None], dict[str, tf.Tensor]]:
        """The gradients of the loss of (images, targets), for `apply`, and the loss parts with their sum as 'loss'.

        The gradients are in the order of `trainable_variables`, None where the loss does not depend on a variable. They
        are this replica's share of those of the mean over all replicas.
        """
        images, targets = _images_and_targets(data)
        # Outside the tape no activation is kept and no backward op is built.
        features = self.features(images, training=True)
        variables = self.trainable_variables
        scaling = isinstance(self.optimizer, keras.mixed_precision.LossScaleOptimizer)  # which float16 needs
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(variables)
            seed = tf.stack([self.seed, tf.cast(self.optimizer.iterations, tf.int32)])
            parts = self.losses_from(features, targets, seed, training=True)
            if self.weight_decay:
                parts["weight_decay"] = self.weight_decay * _half_squares(variables)
            share = tf.add_n([part / _replicas() for part in parts.values()])
            scaled = self.optimizer.get_scaled_loss(share) if scaling else share
        gradients = tape.gradient(scaled, variables)
        if scaling:
            gradients = self.optimizer.get_unscaled_gradients(gradients)
        return gradients, {"loss": share * _replicas(), **parts}

    def apply(self, gradients: Iterable[tf.Tensor | None]) -> None:
        """Updates the trainable variables by gradients in their order, added over the replicas."""
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))

    def test_step(self, data: tuple[tf.Tensor | Features, Mapping]) -> dict[str, tf.Tensor]:
        """The losses of (images, targets) in inference, and their sum as 'loss', as means over the batches so far.

        They exclude weight decay. What is sampled depends on `seed` alone. DataError for a batch of another form.
        """
        images, targets = _images_and_targets(data)
        parts = self.losses_from(self.features(images), targets)
        return self._means.update({"loss": tf.add_n(list(parts.values())), **parts})

    def _check_call(self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        check_call(getattr(keras.Model, name), args, kwargs, f"{type(self).__name__}.{name}")

    def _check_compiled(self) -> None:
        """Raises ConfigError where other weights train now than Keras would train: those that did at `compile`."""
        trained = frozenset(map(id, self.trainable_variables))
        if self.optimizer is not None and trained != self._compiled_for:
            raise ConfigError(
                f"{len(trained)} weights of {self.name} train now, and {len(self._compiled_for)} when it was compiled. "
                f"Call compile again after setting `trainable`, with a new optimizer."
            )

    def _pyramid(self, features: Features, training: bool) -> dict[int, tf.Tensor]:
        """The neck's maps; those that the backbone is trained to make are made first."""
        maps = features.pyramid
        if features.images is not None:
            maps = self.backbone.training_features(features.images, maps)
        elif training and not self.backbone.frozen:
            raise ConfigError(
                f"A batch holds features instead of images, but {len(self.backbone.trainable_weights)} weights of the "
                f"backbone train, which would need the images. Set BACKBONE_MODE = 'frozen', or train without a cache."
            )
        return self.neck(maps, training=training and bool(self.neck.trainable_weights))


def _graph_function(function: Callable) -> Callable:
    """The same for what Keras traces; a function that it runs eagerly or schedules stays as it is."""
    if not hasattr(function, "python_function"):
        return function
    return GraphFunction(function.python_function, reduce_retracing=True)


def _images_and_targets(data: Any) -> tuple[tf.Tensor | Features, Mapping]:
    """The parts of a batch; DataError where it has others: targets that are no dict, none, or weights of samples."""
    parts = data if isinstance(data, list | tuple) else [data]
    if len(parts) != 2 or not isinstance(parts[1], Mapping):
        raise DataError(
            f"A batch is ({', '.join(type(part).__name__ for part in parts)}); a detector needs (images, targets), "
            f"where targets are a dict with 'boxes' and 'classes'. Weights of samples have no meaning for its losses."
        )
    return parts[0], parts[1]


def _check_count(images: int | None, targets: Mapping) -> None:
    """Raises DataError where the targets are not those of that number of images, which is None until it is known."""
    for name, expected in (("boxes", [images, None, 4]), ("image_size", [images, 2])):
        shape = tf.TensorShape(getattr(targets.get(name), "shape", None))
        if not shape.is_compatible_with(expected):
            raise DataError(
                f"The targets have {name!r} {shape}, but must have {expected} in a batch of {images} images."
            )


def _frame(images: tf.Tensor) -> tuple[int, int]:
    """Height and width of the frames, which must be known while tracing: anchors are constants of the graph."""
    shape, expected = tf.TensorShape(images.shape), tf.TensorShape([None, None, None, 3])
    if not shape.is_compatible_with(expected):
        raise DataError(f"The images have shape {shape}; a detector needs RGB images [batch, height, width, 3].")
    height, width = shape.merge_with(expected)[1:3]
    if height is None or width is None:
        raise ConfigError(f"The images have shape {shape}; a detector needs frames of one fixed size. Fit them.")
    return height, width


def _whole(frame: tuple[int, int], batch_size: tf.Tensor) -> tf.Tensor:
    """The image_size [batch, 2] of frames without padding."""
    return tf.tile(tf.constant([frame], tf.float32), [batch_size, 1])


def _replicas() -> int:
    """Returns the number of replicas, over which Keras sums the gradients and the results of a step."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def _half_squares(variables: list[tf.Variable]) -> tf.Tensor:
    """½‖w‖² over convolution and dense kernels; norms and biases have one dimension and stay out."""
    kernels = [tf.nn.l2_loss(tf.cast(v, tf.float32)) for v in variables if v.shape.rank > 1]
    return tf.add_n(kernels) if kernels else tf.zeros([])
