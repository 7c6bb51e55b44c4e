import copy
import functools
import pathlib
import re
import sys
import tempfile
from unittest import mock

import gin
import pytest
import tensorflow as tf
from gin import config as gin_config
from gin import config_parser

from tf_frozen.backbones import efficientnet_lite, keras_application
from tf_frozen.commands.configs import markdown
from tf_frozen.config import gin_files
from tf_frozen.config.configurables import find_configurable
from tf_frozen.config.imports import import_all, package_of
from tf_frozen.config.load import load_config
from tf_frozen.config.unused import unused_bindings
from tf_frozen.data.no_images import NoImages
from tf_frozen.data.pipeline import TrainBatches
from tf_frozen.errors import DataError
from tf_frozen.layers.building import unallocated
from tf_frozen.training.run import Run

RUNNABLE = [name for name, _ in gin_files.shipped() if "/" not in name or name.startswith("runs/")]
RECIPES = [name for name, _ in gin_files.shipped() if name.startswith("papers/") and "/parts/" not in name]
HEADER = ("Purpose", "Command", "Score and time", "Required", "Commonly overridden")
OF_RECIPES = ("Cost", "Differs from the sources", "Not specified by the sources")
NEON = {
    "TRAIN_ANNOTATIONS": "embedded:neon_trees/val.json",
    "TRAIN_IMAGES": "embedded:neon_trees/val",
    "VAL_ANNOTATIONS": "embedded:neon_trees/val.json",
    "VAL_IMAGES": "embedded:neon_trees/val",
}


class ImportsTest(tf.test.TestCase):
    """What every shipped file imports."""

    @functools.cache  # noqa: B019
    def statements(self, name):
        return [*config_parser.ConfigParser(gin_files.find(name).text, gin_config.ParserDelegate())]

    def imported(self, name):
        """Modules that a file imports, or one that it includes."""
        modules = set()
        for statement in self.statements(name):
            if isinstance(statement, config_parser.IncludeStatement):
                modules |= self.imported(statement.filename)
            elif isinstance(statement, config_parser.ImportStatement):
                modules.add(statement.module)
        return modules

    def used(self, name):
        """What a file itself binds parameters of, or refers to."""
        bindings = [one for one in self.statements(name) if isinstance(one, config_parser.BindingStatement)]
        references = gin_config.iterate_references([binding.value for binding in bindings])
        bound = {find_configurable(binding.selector) for binding in bindings if binding.arg_name}
        return {one for one in (*bound, *(one.configurable for one in references)) if one.module != "gin"}

    def packages_with(self, configurable):
        """Packages of tf_frozen that define something configurable, or name it where it is of Keras."""
        if configurable.wrapped.__module__.startswith("tf_frozen."):
            return {package_of(configurable.wrapped.__module__)}
        holders = [name for name, module in sys.modules.items() if name.startswith("tf_frozen.") and module]
        return {package_of(name) for name in holders if configurable.name in vars(sys.modules[name])}

    def test_are_packages_and_all_that_it_needs(self):
        texts = [gin_files.find(name).text for name, _ in gin_files.shipped()]
        for module in {module for text in texts for module in re.findall(r"^import (\S+)", text, re.MULTILINE)}:
            import_all(module)  # gin's parser wants to know all that is referred to
        for name, _ in gin_files.shipped():
            imported = self.imported(name)
            with self.subTest(name):
                self.assertEqual({package_of(module) for module in imported}, imported)
                for configurable in self.used(name):
                    self.assertNotEmpty(self.packages_with(configurable) & imported, configurable.name)


class RunnableTest(tf.test.TestCase):
    """What holds for every file that can be given to `tf-frozen train`."""

    def setUp(self):
        super().setUp()
        self.addCleanup(gin.clear_config)

    def load(self, name, *params, **macros):
        values = NEON | {"FRAME": (128, 128)} | macros
        # The photographs that come with the package have no masks.
        params = [*(f"{macro} = {value!r}" for macro, value in values.items()), "CocoJson.masks = False", *params]
        load_config([name], params)

    def share_networks(self):
        """Backbones of equal arguments have one network, which takes seconds to make."""
        for module, name in ((efficientnet_lite, "_network"), (keras_application, "_load")):
            self.enter_context(mock.patch.object(module, name, functools.cache(getattr(module, name))))

    def built(self, parameter):
        """What Run.`parameter` makes: the detector, a data set or the optimizer."""
        return copy.deepcopy(gin.get_bindings("Run", resolve_references=False)[parameter])()

    def test_the_files(self):
        self.assertContainsSubset({"quickstart.gin", "runs/train_on_coco_json.gin"}, RUNNABLE)

    def test_opens_with_what_a_user_wants_to_know(self):
        for name in [*RUNNABLE, *RECIPES]:
            with self.subTest(name):
                found = gin_files.header(name)
                self.assertContainsSubset(set(found) - set(HEADER), OF_RECIPES)
                for label in ("Cost", "Differs from the sources"):
                    self.assertEqual(label in found, name in RECIPES, label)
                found = {label: text for label, text in found.items() if label not in OF_RECIPES}
                self.assertEqual(tuple(found), HEADER)
                self.assertIn(f"tf-frozen train --gin_file {name} --model_dir ", found["Command"])
                overridden = found["Commonly overridden"].split(", ")
                self.assertContainsSubset({"TRAIN_STEPS", "BATCH_SIZE", "SEED", "BACKBONE_MODE"}, overridden)
                required = [] if found["Required"].startswith("nothing") else found["Required"].split(", ")
                load_config([name])
                for macro in [*overridden, *required]:
                    gin.query_parameter(f"{macro}/gin.macro.value")  # ValueError where there is none

    def test_proposals_and_candidates_follow_the_detections(self):
        for detections, expected in (
            (100, (100, (300, 300), (500, 500), 1000)),
            (700, (700, (2100,) * 2, (3500,) * 2, 7000)),
        ):
            self.load("runs/train_on_coco_json.gin", DETECTIONS=detections)
            detector = self.built("detector")
            proposal = detector.region_proposal.nms
            self.load("runs/small_retinanet.gin", DETECTIONS=detections)
            head = self.built("detector").head
            self.assertEqual(head.detections, detections)
            found = detector.detections, proposal.proposals, proposal.candidates, head.nms.candidates
            self.assertEqual(found, expected)

    def test_one_line_reaches_the_policy_and_the_validation_of_a_run(self):
        rules = [("neck/.*", "frozen")]
        for name in RUNNABLE:
            with self.subTest(name), tempfile.TemporaryDirectory() as folder:
                self.load(name, f"Policy.rules = {rules}", "Policy.until = 3", "Validation.patience = 2")
                run = Run(folder)
                self.assertEqual((run._policy.rules, run._policy.until, run._validation.patience), (rules, 3, 2))

    def test_one_line_reaches_the_adapters_of_a_backbone(self):
        macros = ["BACKBONE_MODE = 'frozen_with_adapters'", "INIT_CHECKPOINT = None"]
        for name in ("efficientnet_lite0", "keras_application", "resnet50", "resnet_rs50"):
            with self.subTest(name):
                needed = macros if name.startswith("resnet") else macros[:1]
                load_config([f"backbones/{name}.gin"], [*needed, "ResidualAdapters.depthwise = True"])
                backbone = gin.query_parameter("BACKBONE/gin.macro.value").selector
                self.assertTrue(copy.deepcopy(gin.query_parameter(f"{backbone}.adapters")).depthwise)

    @pytest.mark.slow
    def test_builds_its_detector_and_uses_all_that_it_binds(self):
        self.share_networks()
        for name in RUNNABLE:
            with self.subTest(name), tempfile.TemporaryDirectory() as folder:
                self.load(name, TRAIN_STEPS=7, BATCH_SIZE=3, SEED=5, BACKBONE_MODE="frozen_random")
                run = Run(folder)
                self.assertEqual((run.train_steps, run.batch_size, run.seed), (7, 3, 5))
                detector, optimizer = self.built("detector"), self.built("optimizer")
                self.assertEqual((detector.frame, detector.seed), ((128, 128), 5))
                self.assertEqual((detector.backbone.mode, detector.backbone.frozen), ("frozen_random", True))
                found = detector(tf.zeros([1, 128, 128, 3]))
                self.assertEqual(found["boxes"].shape[::2], (1, 4))
                optimizer.build(detector.trainable_variables)
                TrainBatches(NoImages(), detector.frame, run.batch_size, run.seed)
                self.assertEqual(unused_bindings(), [])

    @pytest.mark.slow
    def test_the_mode_of_the_backbone_is_one_macro(self):
        self.share_networks()
        for name in RUNNABLE:
            for mode in ("frozen", "fine_tune", "scratch"):
                with self.subTest(f"{name}, {mode}"):
                    self.load(name, BACKBONE_MODE=mode)
                    with unallocated():  # no weights are read, or downloaded
                        backbone = self.built("detector").backbone
                    self.assertEqual((backbone.mode, backbone.frozen), (mode, mode == "frozen"))
                    self.assertEqual(backbone.weights_source is None, mode == "scratch")

    def test_the_page_of_all_configurations_is_what_the_command_prints(self):
        page = (pathlib.Path(__file__).parents[1] / "gin_configs" / "README.md").read_text(encoding="utf-8")
        self.assertEqual(page, markdown() + "\n", "make it anew: tf-frozen configs --markdown > gin_configs/README.md")

    def test_each_data_macro_reaches_its_data(self):
        for name in RUNNABLE:
            self.load(name)
            for parameter in ("train_data", "val_data"):
                self.assertLen(self.built(parameter).examples, 9)
            for macro in NEON:
                with self.subTest(f"{name}, {macro}"):
                    self.load(name, **{macro: "/nowhere/at_all"})
                    with self.assertRaisesRegex(DataError, "/nowhere/at_all"):
                        self.built("train_data" if macro.startswith("TRAIN") else "val_data")
                    self.built("val_data" if macro.startswith("TRAIN") else "train_data")


if __name__ == "__main__":
    tf.test.main()
