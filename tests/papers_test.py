"""The recipes of gin_configs/papers/: each is built, without memory for its weights, and compared with the paper."""

import contextlib
import copy
import functools
import re
import tempfile
import types
from unittest import mock

import gin
import numpy as np
import pytest
import tensorflow as tf

from tf_frozen.backbones import keras_application, resnet
from tf_frozen.config import gin_files
from tf_frozen.config.load import load_config
from tf_frozen.config.unused import unused_bindings
from tf_frozen.data.no_images import NoImages
from tf_frozen.data.pipeline import TrainBatches
from tf_frozen.freezing.flops import step_multiply_adds
from tf_frozen.freezing.savings import savings
from tf_frozen.freezing.variable_paths import parts
from tf_frozen.layers.building import unallocated
from tf_frozen.training.run import Run

FOLDER = "papers/proper_reuse/"
RECIPES = [name for name, _ in gin_files.shipped() if name.startswith(FOLDER) and "/parts/" not in name]
# Millions of parameters, in all and without the backbone, of the paper's Table 3 and of the pieces in between.
MILLIONS = {
    "r101_fpn": (83.5, 21.9),
    "r101_nasfpn": (100.5, 38.9),  # Table 3 has 102.6 and 40.9; what the 2.0 M are is not published
    "r101_nasfpn_cascade": (132.9, 71.3),
    "r50_nasfpn_cascade": (104.9, 71.3),
    "r101_nasfpn_cascade_adapters": (135.2, 73.6),  # 2.37 M more
    "official/fastrcnn_resnet101_fpn": (82.8, 21.3),  # one convolution in the region proposal, where Table 3 has two
    "official/fastrcnn_resnet101_fpn_cascade": (115.2, 53.6),
    "official/fastrcnn_resnet101_nasfpn": (100.5, 38.9),
    "official/fastrcnn_resnet101_nasfpn_cascade": (132.9, 71.3),
    "official/retinanet_resnet101_fpn": (71.92, 10.35),  # paper.md's 10.58 M with 91 classes instead of 80
    "official/retinanet_resnet101_nasfpn": (89.64, 28.07),
    "b7_nasfpn_cascade_coco": (185, 122.9),  # 185 M in arXiv 2012.07177, of the same detector
}
# What a frozen step costs of a fine-tuned one: the paper's Figure 1, read off to about 0.01 (Table 3's four rows).
FLOPS_SHARE = {"r101_fpn": 0.652, "r101_nasfpn": 0.595, "r101_nasfpn_cascade": 0.609, "r50_nasfpn_cascade": 0.716}
# What the headers of recipes say of it, by what their names have.
NOT_SPECIFIED = {
    "scratch": "from scratch",
    "fine_tune": "fine-tuned",
    "_jft_": "JFT-300M checkpoint",
    "adapters": "place of the adapters",
    "data_fraction": "steps on less data",
    "plain_convs": "to compare with FPN",
    "b7": "initial weights of B7",
}
# Bindings that change neither the shape of what stands behind a backbone nor what of it trains.
NOT_BEHIND_THE_BACKBONE = (
    *("INIT_CHECKPOINT", "TRAIN_STEPS", "DROPS", "DATA_FRACTION", "train/CocoJson.fraction", "#"),
    *("BACKBONE_MODE", "ResNetRS.norm_epsilon"),
)


def architecture(name):
    """What a recipe's name says before its weights, its mode and its length."""
    stem = name.removeprefix(FOLDER).removesuffix(".gin")
    return re.sub(
        r"^ablation_data_fraction_|_(none|imagenet|jft)?_?(scratch|fine_tune|frozen).*|_\d+epochs", "", stem
    ) + "_adapters" * ("adapters" in name)


def built(parameter):
    return copy.deepcopy(gin.get_bindings("Run", resolve_references=False)[parameter])()


@tf.autograph.experimental.do_not_convert
def build_behind_the_backbone(detector):
    """Makes the variables of neck and heads, without values, on maps of the backbone's sizes."""
    height, width = detector.frame
    with unallocated(), tf.__internal__.FuncGraph("build").as_default():
        maps = {
            level: tf.zeros([1, -(-height // 2**level), -(-width // 2**level), channels])
            for level, channels in detector.backbone.channels.items()
        }
        detector.detect(detector.neck(maps), detector.frame, tf.constant([detector.frame], tf.float32))


def shared_networks(constructor):
    """One network for all settings of its norms, which change no shape."""
    cached = functools.cache(constructor)
    norms = ("norm_momentum", "norm_epsilon", "use_sync_bn")
    return lambda *args, **options: cached(*args, **{name: o for name, o in options.items() if name not in norms})


def model_garden_with(network):
    """Model Garden's module of ResNets as the backbone sees it, with this function instead of its class."""
    module = types.SimpleNamespace(**{**vars(resnet._model_garden()), "ResNet": network})
    return mock.patch.object(resnet, "_model_garden", lambda: module)


def parameters(layers):
    """How many parameters layers have in all, and how many train."""
    trainable = [weight for layer in layers for weight in layer.weights if weight.trainable]
    trained = [weight for layer in layers for weight in layer.trainable_weights]
    return np.array([sum(weight.shape.num_elements() for weight in weights) for weights in (trainable, trained)])


class RecipesTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.addCleanup(gin.clear_config)

    def load(self, name, *params):
        data = [f"{split}_{kind} = '/nowhere'" for split in ("TRAIN", "VAL") for kind in ("ANNOTATIONS", "IMAGES")]
        given = ["INIT_CHECKPOINT = '/nowhere/jft'"] if "_jft_" in name else []
        load_config([name], [*data, *given, *params])

    def test_every_row_of_the_paper_that_needs_no_later_part_is_there(self):
        fifths = [f"{init}_{mode}" for init in ("imagenet", "jft") for mode in ("fine_tune", "frozen")]
        both = [*(f"{row}_{epochs}" for row in fifths for epochs in (72, 600)), "none_scratch_600"]
        long = [*(f"{row}_600" for row in fifths), "none_scratch_600"]
        adapted = [f"{row}_adapters_600" for row in fifths]
        rows = {"r101_fpn": both, "r101_nasfpn": both, "r101_nasfpn_cascade": [*both, *adapted]}
        rows["r50_nasfpn_cascade"] = long
        rows["b7_nasfpn_cascade_coco"] = ["fine_tune", "frozen"]
        for convs in (1, 2):
            rows[f"ablation_r101_plain_convs_{convs}"] = [
                f"{row}_72" for row in ("none_scratch", "imagenet_fine_tune", "imagenet_frozen")
            ]
        for detector in ("r101_fpn", "r101_nasfpn_cascade"):
            rows[f"ablation_data_fraction_{detector}"] = ["imagenet_fine_tune", "imagenet_frozen"]
        for stages, necks in (
            ("fastrcnn", ("fpn", "fpn_cascade", "nasfpn", "nasfpn_cascade")),
            ("retinanet", ("fpn", "nasfpn")),
        ):
            for neck in necks:
                rows[f"official/{stages}_resnet101_{neck}"] = ["72epochs", "600epochs"]
        self.assertCountEqual(RECIPES, [f"{FOLDER}{stem}_{row}.gin" for stem, ends in rows.items() for row in ends])

    def test_headers_say_what_the_sources_leave_open(self):
        for name in RECIPES:
            header = gin_files.header(name)
            with self.subTest(name):
                self.assertIn("all instances", header["Differs from the sources"])
                self.assertEqual("each replica" in header["Differs from the sources"], "retinanet" not in name)
                open_questions = header.get("Not specified by the sources", "")
                for part, words in NOT_SPECIFIED.items():
                    self.assertEqual(words in open_questions, part in name and "official" not in name, part)

    def test_backbones_from_scratch_have_the_norms_of_what_starts_anew(self):
        for name in RECIPES:
            self.load(name)
            if gin.query_parameter("BACKBONE_MODE/gin.macro.value") == "scratch":
                norms = [
                    gin.query_parameter(f"ResNetRS.{of}") for of in ("norm_epsilon", "norm_momentum", "use_sync_bn")
                ]
                self.assertEqual((name, *norms), (name, 1e-4, 0.997, True))

    @pytest.mark.slow
    def test_each_is_built_and_trains_the_share_that_it_says(self):
        # What takes seconds is made once: networks of equal arguments and what stands on them. Adapters change theirs.
        shared = model_garden_with(shared_networks(resnet._model_garden().ResNet))
        self.enter_context(mock.patch.object(keras_application, "_load", functools.cache(keras_application._load)))
        behind, flops_shares = {}, {}
        # First those whose step is traced, which needs the variables of neck and heads.
        for name in sorted(RECIPES, key=lambda name: architecture(name) not in FLOPS_SHARE or "frozen" not in name):
            with self.subTest(name), contextlib.nullcontext() if "adapters" in name else shared:
                detector = self.detector(name)
                config = re.sub(rf"(?m)^({'|'.join(NOT_BEHIND_THE_BACKBONE)}).*\n( .*\n)*", "", gin.config_str())
                if config not in behind:
                    build_behind_the_backbone(detector)
                    behind[config] = self.parameters_behind_the_backbone(detector)
                found = parameters([detector.backbone]) + behind[config]
                self.check_parameters(name, *found / 1e6)
                row = architecture(name)
                if detector.backbone.mode == "frozen" and row in FLOPS_SHARE and row not in flops_shares:
                    whole = savings(detector, count_flops=False)["parameters"]
                    self.assertEqual((whole["total"], whole["trainable"]), tuple(found))
                    flops_shares[row] = self.flops_share(detector)
        self.assertAllClose(flops_shares, FLOPS_SHARE, rtol=0, atol=0.05)
        self.assertLess(len(behind), len(RECIPES) / 3)

    def detector(self, name):
        """The detector of a recipe, of which only the backbone has variables."""
        self.load(name)
        with tempfile.TemporaryDirectory() as folder:
            run = Run(folder)
        side = 640 if "retinanet" in name else 1280 if "cascade" in name else 1024
        batch = 256 if side == 640 or "b7" in name else 64
        self.assertEqual((run.precision, run.batch_size), ("mixed_bfloat16", batch))
        with unallocated():
            detector = built("detector")
        built("optimizer")
        TrainBatches(NoImages(), (side, side), run.batch_size, run.seed)
        self.assertEqual(unused_bindings(), [])
        mode = next((m for m in ("scratch", "fine_tune") if m in name), "frozen")
        mode += "_with_adapters" * ("adapters" in name)
        self.assertEqual((detector.backbone.mode, detector.backbone.frozen), (mode, mode == "frozen"))
        self.assertEqual(detector.frame, (side, side))
        return detector

    def parameters_behind_the_backbone(self, detector):
        behind = [part for part in parts(detector).values() if part is not detector.backbone]
        momenta = {m.momentum for part in behind for m in part.submodules if hasattr(m, "momentum") and m.weights}
        self.assertEqual(momenta, {0.99 if detector.frame == (640, 640) else 0.997})  # as in the official YAMLs
        return parameters(behind)

    def flops_share(self, detector):
        """Of training everything, in what a TPU's matrix units compute: the paper does not say what it counts."""
        images = tf.TensorSpec([1, *detector.frame, 3])
        targets = {"boxes": tf.TensorSpec([1, 1, 4]), "classes": tf.TensorSpec([1, 1], tf.int32)}
        targets |= {"image_size": tf.TensorSpec([1, 2])}
        step = tf.function(detector.training_losses, autograph=False).get_concrete_function(images, targets)
        now, full = (
            step_multiply_adds(step, {"all": detector.weights}, trained, lanes=128)["all"]
            for trained in (detector.trainable_variables, detector.weights)
        )
        return now / full

    def check_parameters(self, name, total, behind):
        said = re.match(r"trains (?:all )?([\d.]+) M(?: of ([\d.]+) M)?", gin_files.header(name)["Cost"])
        self.assertEqual((float(said[1]), float(said[2] or said[1])), (round(behind, 1), round(total, 1)))
        if architecture(name) in MILLIONS:
            expected_total, expected_behind = MILLIONS[architecture(name)]
            self.assertAllClose(total, expected_total, rtol=0.005)
            self.assertAllClose(
                behind, expected_behind if "frozen" in name or "official" in name else expected_total, rtol=0.005
            )

    def test_the_learning_rate_warms_up_and_drops_where_the_sources_say(self):
        for name, peak, drops in (
            ("r101_fpn_imagenet_frozen_72", 0.16, (88704, 125664)),
            ("r101_nasfpn_cascade_jft_frozen_600", 0.16, (1062734, 1090458)),
            ("official/retinanet_resnet101_fpn_72epochs", 0.32, (22176, 31416)),
            ("official/retinanet_resnet101_nasfpn_600epochs", 0.32, (265684, 272615)),
        ):
            self.load(f"{FOLDER}{name}.gin")
            optimizer = built("optimizer")
            self.assertEqual(optimizer.momentum, 0.9)
            schedule = optimizer._learning_rate  # noqa: SLF001
            self.assertAllClose([schedule(0), schedule(500)], [0.0067, peak])
            for drop, (before, after) in zip(drops, ((peak, peak / 10), (peak / 10, peak / 100)), strict=True):
                self.assertAllClose([schedule(drop), schedule(drop + 1)], [before, after])


if __name__ == "__main__":
    tf.test.main()
