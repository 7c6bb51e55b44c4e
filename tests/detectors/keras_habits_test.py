"""Detectors and layers are used as people use Keras: trained, evaluated, frozen by hand, saved and loaded."""

import functools
import os

import keras as keras_3
import numpy as np
import tensorflow as tf

from tf_frozen.backbones.efficientnet_lite import EfficientNetLite
from tf_frozen.backbones.residual_adapters import ResidualAdapters
from tf_frozen.detectors.mask_rcnn import MaskRCNN
from tf_frozen.detectors.single_stage import SingleStage
from tf_frozen.errors import ConfigError, DataError
from tf_frozen.heads.balanced_sampler import BalancedSampler
from tf_frozen.heads.box_cascade import BoxCascade
from tf_frozen.heads.box_head import BoxHead
from tf_frozen.heads.dense_head import DenseHead
from tf_frozen.heads.mask_head import MaskHead
from tf_frozen.heads.nms import NMS
from tf_frozen.heads.proposal_nms import ProposalNMS
from tf_frozen.heads.region_proposal import RegionProposal
from tf_frozen.heads.roi_align import RoIAlign
from tf_frozen.keras_flavor import keras
from tf_frozen.layers.configured import policy
from tf_frozen.necks.fpn import FPN
from tf_frozen.necks.plain_convs import PlainConvs

SIDE = 64
IMAGES = np.random.default_rng(0).uniform(0, 255, [2, SIDE, SIDE, 3]).astype(np.float32)
TARGETS = {
    "boxes": np.float32([[[8, 8, 40, 40], [0, 0, 0, 0]]] * 2),
    "classes": np.int32([[2, 0]] * 2),
    "image_size": np.float32([[SIDE, SIDE]] * 2),
    "masks": np.ones([2, 2, 8, 8], np.uint8),
}
DETECTORS = (SingleStage, MaskRCNN)  # between them they have every head


def make(kind=SingleStage, mode="frozen", backbone=None, **options):
    """A tiny detector with two classes."""
    backbone = backbone or EfficientNetLite(levels=(3,), mode=mode)
    if kind is SingleStage:
        neck, heads = FPN(8, 3, 3), [DenseHead(2, convs=1, filters=8)]
    else:
        head = BoxHead(2, convs=0, fcs=1, fc_units=8)
        neck = PlainConvs(8, 1, 3, 3)
        heads = [
            RegionProposal(8, nms=ProposalNMS(candidates=(20, 20), proposals=(8, 8))),
            BoxCascade(head, (0.5,), ((10, 10, 5, 5),), sampler=BalancedSampler(8, 0.25), nms=NMS(detections=5)),
            *([MaskHead(2, convs=0, filters=4, roi_align=RoIAlign(4))] if kind is MaskRCNN else []),
        ]
    return kind(backbone, neck, *heads, frame=(SIDE, SIDE), **options)


class Bounded(FPN):
    """A neck with a branch that only AutoGraph makes part of a graph."""

    def call(self, pyramid, training=None):
        pyramid = super().call(pyramid, training=training)
        if tf.reduce_max(pyramid[3]) > 100.0:
            return {3: pyramid[3] / 100.0}
        return pyramid


def batches(**targets):
    return tf.data.Dataset.from_tensors((IMAGES, {**TARGETS, **targets}))


@functools.cache
def trained(kind=SingleStage):
    """A detector after a step, which no test changes."""
    keras.utils.set_random_seed(0)
    detector = make(kind)
    detector.compile(keras.optimizers.Adam(1e-3))
    detector.fit(batches(), verbose=0)
    return detector


def pooled(backbone):
    images = keras.Input([SIDE, SIDE, 3])
    return keras.Model(images, keras.layers.GlobalAveragePooling2D()(backbone(backbone.preprocess(images))[3]))


class TrainingTest(tf.test.TestCase):
    def test_evaluate_gives_the_mean_losses_of_inference_and_changes_nothing(self):
        both = {"class_loss", "box_loss"}
        for kind, names in (
            (SingleStage, both),
            (MaskRCNN, {"rpn_score_loss", "rpn_box_loss", *both, "mask_loss"}),
        ):
            detector = trained(kind)
            before = detector.get_weights()
            found = detector.evaluate(batches().repeat(2), verbose=0, return_dict=True)
            self.assertEqual(set(found), {"loss", *names})
            self.assertAllClose(found["loss"], sum(found[name] for name in names), rtol=1e-5)
            self.assertEqual(detector.evaluate(batches(), verbose=0, return_dict=True), found)
            for old, new in zip(before, detector.get_weights(), strict=True):
                self.assertAllEqual(old, new)

    def test_history_holds_the_means_of_an_epoch_and_validation_losses(self):
        steps = []
        take = keras.callbacks.LambdaCallback(on_train_batch_end=lambda _, logs: steps.append(logs["loss"]))
        detector = make()
        detector.compile(keras.optimizers.SGD(0.0))
        data = batches().concatenate(batches(classes=np.int32([[2, 0], [0, 0]])))
        history = detector.fit(data, epochs=2, validation_data=batches(), callbacks=[take], verbose=0).history
        self.assertGreater(abs(steps[0] - steps[1]), 1e-3)
        self.assertAllClose(history["loss"], [np.mean(steps[:2]), np.mean(steps[2:])], rtol=1e-5)
        self.assertAllClose(history["val_loss"][1], detector.evaluate(batches(), verbose=0, return_dict=True)["loss"])
        self.assertIn("val_box_loss", history)
        self.assertNotIn("total", " ".join(weight.name for weight in detector.weights))

    def test_xla_compiles_a_step(self):
        head = DenseHead(2, convs=0, filters=8)
        detector = SingleStage(EfficientNetLite(levels=(3, 4)), FPN(8, 3, 4), head, frame=(SIDE, SIDE))
        detector.compile(keras.optimizers.SGD(1e-3), jit_compile=True)
        self.assertAllInSet(np.isfinite(detector.train_on_batch(IMAGES, TARGETS)), [True])

    def test_a_layer_whose_control_flow_depends_on_tensors_is_trained_and_detects(self):
        head = DenseHead(2, convs=0, filters=8)
        detector = SingleStage(
            EfficientNetLite(levels=(3,), mode="frozen_random"), Bounded(8, 3, 3), head, frame=(64, 64)
        )
        detector.compile(keras.optimizers.SGD(1e-3))
        history = detector.fit(batches(), validation_data=batches(), verbose=0).history
        self.assertAllInSet(np.isfinite([*history["loss"], *history["val_loss"]]), [True])
        self.assertEqual(detector.predict(IMAGES, verbose=0)["boxes"].shape[0], 2)

    def test_a_loss_metrics_and_what_another_keras_made_are_refused(self):
        detector, schedule = make(), keras_3.optimizers.schedules.CosineDecay(0.1, 10)
        for arguments, words in (
            ({"loss": "mse"}, "SingleStage.compile got loss = 'mse'.*losses are those of its heads"),
            ({"metrics": ["accuracy"]}, "got metrics"),
            ({"optimizer": keras_3.optimizers.Adam()}, "optimizer is a Adam of another Keras"),
            ({"metrics": [keras_3.metrics.Mean()]}, "metrics is a Mean of another Keras"),
            ({"optimizer": keras.optimizers.legacy.SGD(schedule)}, "optimizer is a SGD with a CosineDecay of another"),
        ):
            with self.assertRaisesRegex(ConfigError, words):
                detector.compile(**arguments)
        callbacks = [keras_3.callbacks.EarlyStopping()]
        for name, before in (("fit", 5), ("evaluate", 6), ("predict", 4)):
            for given in ([batches(), *[None] * (before - 1), callbacks], {"callbacks": callbacks}):
                args, kwargs = (given, {}) if isinstance(given, list) else ([], given)
                with self.assertRaisesRegex(ConfigError, f"{name}.callbacks is a EarlyStopping of another Keras"):
                    getattr(trained(), name)(*args, **kwargs)

    def test_settings_of_another_keras_are_refused_in_every_constructor(self):
        norm = keras.layers.BatchNormalization
        for kind in (functools.partial(DenseHead, 2), functools.partial(BoxHead, 2), RegionProposal, FPN):
            for name, value, words in (
                ("activation", keras_3.activations.relu, "a relu"),
                ("activation", keras_3.layers.ReLU(), "a ReLU"),
                ("norm", keras_3.layers.BatchNormalization, "a BatchNormalization"),
                ("norm", norm(gamma_initializer=keras_3.initializers.Ones()), "a BatchNormalization with a Ones"),
                ("norm", norm(gamma_regularizer=keras_3.regularizers.L2()), "a BatchNormalization with a L2"),
            ):
                with self.assertRaisesRegex(ConfigError, rf"\w+.{name} is {words} of another Keras"):
                    kind(**{name: value})


class TrainableTest(tf.test.TestCase):
    def test_a_model_s_trainable_leaves_a_frozen_backbone_frozen(self):
        for mode in ("frozen", "frozen_with_adapters"):
            options = {"levels": (3,), "mode": mode, "adapters": ResidualAdapters(depthwise=True)}
            for around in (lambda backbone: make(backbone=backbone), pooled):
                model = around(EfficientNetLite(**options))
                model(IMAGES)
                before, weights = len(model.trainable_weights), len(model.weights)
                model.trainable = False
                self.assertEmpty(model.trainable_weights)
                model.trainable = True
                self.assertLen(model.trainable_weights, before)
                self.assertLen(model.weights, weights)

    def test_what_trains_is_set_before_compile(self):
        detector = make()
        detector.compile(keras.optimizers.SGD(1e-3))
        detector.neck.trainable = False
        for train in (lambda: detector.fit(batches()), lambda: detector.train_on_batch(IMAGES, TARGETS)):
            with self.assertRaisesRegex(ConfigError, r"\d+ weights of single_stage.* train now, .*compile again"):
                train()
        detector.compile(keras.optimizers.SGD(1e-3))
        before = detector.neck.get_weights()
        detector.fit(batches(), verbose=0)
        for old, new in zip(before, detector.neck.get_weights(), strict=True):
            self.assertAllEqual(old, new)


class SavingTest(tf.test.TestCase):
    def path(self, name):
        return os.path.join(self.get_temp_dir(), name)

    def reloaded(self, model, name="model.keras"):
        model.save(self.path(name))
        return keras.models.load_model(self.path(name))

    def test_detectors_come_back_compiled_with_their_optimizer_and_go_on(self):
        for kind in DETECTORS:
            model = trained(kind)
            again = self.reloaded(model)
            self.assertEqual(int(again.optimizer.iterations), 1)
            for old, new in zip(model.optimizer.variables, again.optimizer.variables, strict=True):
                self.assertAllEqual(old, new)
            for name, value in model(IMAGES).items():
                self.assertAllEqual(again(IMAGES)[name], value, kind)
            self.assertLen(again.trainable_weights, len(model.trainable_weights))
        again.fit(batches(), verbose=0)
        self.assertEqual(int(again.optimizer.iterations), 2)

    def test_weights_load_into_a_detector_that_was_never_called(self):
        model = trained()
        for name in ("detector.weights.h5", "checkpoint"):
            model.save_weights(self.path(name))
            again = make()
            again.load_weights(self.path(name))
            for old, new in zip(model.get_weights(), again.get_weights(), strict=True):
                self.assertAllEqual(old, new)

    def test_trainability_that_was_set_by_hand_comes_back(self):
        backbone = EfficientNetLite(levels=(3,))
        backbone.trainable = True
        for layer in backbone.network.layers[:-20]:
            layer.trainable = False
        detector = make(mode="fine_tune")
        detector.compile("adam")
        detector.backbone.network.layers[1].trainable = False
        detector.neck.convs["3"].trainable = False
        fixed = EfficientNetLite(levels=(3,), mode="fine_tune")
        fixed.trainable = False
        for model, least in ((pooled(backbone), 1), (pooled(fixed), 0), (detector, 10)):
            expected = [weight.shape for weight in model.trainable_weights]
            self.assertGreaterEqual(len(expected), least)
            self.assertEqual([weight.shape for weight in self.reloaded(model).trainable_weights], expected)

    def test_a_saved_model_needs_no_other_file_with_its_weights(self):
        network = EfficientNetLite(levels=(3,)).network
        arrays = {f"{layer.name}/{i}": w for layer in network.layers for i, w in enumerate(layer.get_weights())}
        np.savez(self.path("weights.npz"), **arrays)
        model = make(backbone=EfficientNetLite(levels=(3,), weights=self.path("weights.npz")))
        config = model.get_config()
        model.save(self.path("own.keras"))
        os.remove(self.path("weights.npz"))
        again = keras.models.load_model(self.path("own.keras"))
        for old, new in zip(model.get_weights(), again.get_weights(), strict=True):
            self.assertAllEqual(old, new)
        with self.assertRaisesRegex(ConfigError, "weights.npz"):
            SingleStage.from_config(config)

    def test_mixed_precision_comes_back(self):
        with policy("mixed_bfloat16"):
            models = [make(), pooled(EfficientNetLite(levels=(3,)))]
        for model in models:
            again = self.reloaded(model)
            # Keras keeps no policy of a functional model itself, which computes nothing.
            pairs = zip(
                model._flatten_layers(include_self=False), again._flatten_layers(include_self=False), strict=True
            )
            for old, new in pairs:
                self.assertEqual(new.dtype_policy.name, old.dtype_policy.name, old.name)
            self.assertEqual(keras.mixed_precision.global_policy().name, "float32")

    def test_other_kinds_of_file_are_refused_with_the_way_on(self):
        with self.assertRaisesRegex(ConfigError, "ends in .keras, or write a SavedModel"):
            trained().save(self.path("folder"))
        with self.assertRaisesRegex(ConfigError, "Save the model as a .keras file"):
            pooled(EfficientNetLite(levels=(3,))).save(self.path("folder"))
        trained().save_weights(self.path("legacy.h5"))
        other = make(mode="fine_tune")
        other.compile()
        before = other.get_weights()
        with self.assertRaisesRegex(ConfigError, "(?s)legacy.h5 does not fit .*depends on what trained"):
            other.load_weights(self.path("legacy.h5"))
        for old, new in zip(before, other.get_weights(), strict=True):
            self.assertAllEqual(old, new)

    def test_a_subclass_keeps_its_arguments_and_those_of_its_base(self):
        class Mine(BoxHead):
            def __init__(self, num_classes, extra=7, **kwargs):
                super().__init__(num_classes, **kwargs)
                self.extra = extra

        class Lite(EfficientNetLite):
            def __init__(self, extra=7, **kwargs):
                super().__init__(**kwargs)
                self.extra = extra

        head = Mine(num_classes=2, extra=3, convs=0, fcs=1, fc_units=8)
        copy = BoxCascade(head, (0.5,), ((10, 10, 5, 5),)).heads[0]
        self.assertEqual((copy.extra, copy.convs, copy.fc_units), (3, 0, 8))
        copy = Lite.from_config(Lite(extra=3, levels=(3,), mode="frozen_random", weights=None).get_config())
        self.assertEqual((copy.extra, copy.levels, copy.mode, copy.weights_argument), (3, (3,), "frozen_random", None))


class BatchTest(tf.test.TestCase):
    def losses(self, kind, images=IMAGES, **targets):
        return {name: float(x) for name, x in trained(kind).training_losses(images, {**TARGETS, **targets}).items()}

    def test_a_batch_without_a_box_trains(self):
        none = {"boxes": np.zeros([2, 0, 4], np.float32), "classes": np.zeros([2, 0], np.int32)}
        padded = {"boxes": 0 * TARGETS["boxes"], "classes": 0 * TARGETS["classes"]}
        for kind in DETECTORS:
            found = self.losses(kind, **none, masks=np.zeros([2, 0, 8, 8], np.uint8))
            self.assertAllInSet(np.isfinite(list(found.values())), [True])
            self.assertAllClose(found["class_loss"], self.losses(kind, **padded)["class_loss"], rtol=1e-4)

    def test_a_graph_need_not_know_how_many_boxes_a_batch_has(self):
        def rows(count):
            boxed = ("boxes", "classes", "masks")
            return {name: value[:, :count] if name in boxed else value for name, value in TARGETS.items()}

        specs = tf.nest.map_structure(lambda x: tf.TensorSpec([2, None, *x.shape[2:]], x.dtype), TARGETS)
        signature = (tf.TensorSpec(IMAGES.shape), {**specs, "image_size": tf.TensorSpec([2, 2])})
        for kind in DETECTORS:
            for count in (0, 1, 2):
                data = tf.data.Dataset.from_generator(lambda n=count: [(IMAGES, rows(n))], output_signature=signature)
                found = trained(kind).evaluate(data, verbose=0, return_dict=True)
                del found["loss"]
                self.assertAllClose(found, trained(kind).losses_from(trained(kind).features(IMAGES), rows(count)))

    def test_other_number_formats_are_taken(self):
        for kind in DETECTORS:
            other = {name: TARGETS[name].astype(np.float64) for name in ("boxes", "classes")}
            self.assertAllClose(self.losses(kind, **other), self.losses(kind))

    def test_frames_have_no_padding_unless_image_size_says_so(self):
        targets = {name: value for name, value in TARGETS.items() if name != "image_size"}
        for kind in DETECTORS:
            self.assertAllClose(trained(kind).training_losses(IMAGES, targets), self.losses(kind))

    def test_images_may_be_integers(self):
        whole = np.floor(IMAGES)
        for kind in (np.uint8, np.int32, np.float64):
            self.assertAllClose(self.losses(SingleStage, whole.astype(kind)), self.losses(SingleStage, whole))

    def test_a_class_beyond_num_classes_is_named_eagerly_and_in_a_graph(self):
        words = "num_classes is 2: classes are 1 to 2"
        for kind in DETECTORS:
            for wrong in (3, -1, 1.5):
                classes = np.array([[2, 0], [wrong, 0]], np.float32 if wrong == 1.5 else np.int32)
                with self.assertRaisesRegex(DataError, f"Class {wrong} .*{words}"):
                    self.losses(kind, classes=classes)
                with self.assertRaisesRegex(tf.errors.InvalidArgumentError, rf"(?s)Class.*\[{wrong}\].*{words}"):
                    trained(kind).evaluate(batches(classes=classes), verbose=0)

    def test_targets_of_another_shape_are_refused(self):
        for kind in DETECTORS:
            ragged = tf.RaggedTensor.from_tensor(TARGETS["classes"])
            for wrong, words in (
                ({"boxes": TARGETS["boxes"][0]}, r"have 'boxes' \(2, 4\).*in a batch of 2 images"),
                ({"boxes": TARGETS["boxes"][:1]}, r"have 'boxes' \(1, 2, 4\).*in a batch of 2 images"),
                ({"image_size": np.float32([SIDE, SIDE])}, r"have 'image_size' \(2,\).*in a batch of 2 images"),
                ({"classes": TARGETS["classes"][:, :1]}, r"have boxes \(.*\) and classes \(.*; boxes must be \[batch"),
                ({"classes": ragged}, r"have ragged 'classes': give \[batch, n\].*to_tensor"),
                ({"masks": TARGETS["masks"][:, :1]}, r"have 'masks' \(2, 1, 8, 8\) beside boxes .*one for each box"),
            ):
                with self.assertRaisesRegex(DataError, words):
                    self.losses(kind, **wrong)
            with self.assertRaisesRegex(DataError, "classes of string; both must be numbers"):
                self.losses(kind, classes=np.array([["tree", "shrub"]] * 2))
        with self.assertRaisesRegex(DataError, "lack 'classes'.*they have boxes, image_size"):
            trained().training_losses(IMAGES, {name: TARGETS[name] for name in ("boxes", "image_size")})

    def test_batches_of_another_form_are_refused(self):
        weighted, alone = (IMAGES, TARGETS, np.ones(2)), (IMAGES,)
        for data, words in (
            (weighted, r"\(.*, dict, .*\); a detector needs \(images, targets\)"),
            (alone, r"is \(\w+\);"),
        ):
            for step in (trained().fit, trained().evaluate):
                with self.assertRaisesRegex(DataError, words):
                    step(tf.data.Dataset.from_tensors(data), verbose=0)
        for images in (IMAGES[0], IMAGES[..., :1]):
            with self.assertRaisesRegex(
                DataError, r"images have shape .* needs RGB images \[batch, height, width, 3\]"
            ):
                trained()(images)


if __name__ == "__main__":
    tf.test.main()
