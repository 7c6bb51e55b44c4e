"""Tests of config/from_objects.py and config/arguments.py."""

import functools

import gin
import numpy as np
import tensorflow as tf

from tests.config import toys
from tf_frozen.config.configuration import Configuration
from tf_frozen.config.from_objects import constructed, gin_value
from tf_frozen.config.reading import read
from tf_frozen.data.augmentation.quarter_turns import QuarterTurns
from tf_frozen.data.pipeline import TrainBatches
from tf_frozen.data.source import DataSource
from tf_frozen.errors import ConfigError
from tf_frozen.freezing.policy import Policy
from tf_frozen.keras_flavor import keras
from tf_frozen.layers.norm import BatchNorm
from tf_frozen.necks.fpn import FPN
from tf_frozen.training import optimizers  # noqa: F401 (gin has to know them)
from tf_frozen.training.schedules import WarmupCosine


class Unknown:
    def __init__(self, size=1):
        self.size = size


@gin.configurable
class Forgetful:
    def __init__(self, size=1):
        del size


@gin.configurable
def half(value):
    return value / 2


class Empty(DataSource):
    """A source of no image."""

    examples = categories = ()

    def read(self, index):
        raise NotImplementedError


class FromObjectsTest(tf.test.TestCase):
    def written(self, value, earlier="", use=lambda made: made):
        """The lines that bind what makes the value, and what `use` gets of what gin makes of them, read again."""
        with Configuration().active():
            read((), [earlier])
            made = gin_value(value, "part", "Run.part")
            gin.bind_parameter("ToyRun.data", made)
            text = gin.config_str(max_line_length=110)
        with Configuration().active():
            gin.parse_config(text)
            again = use(toys.ToyRun(neck=None).data)
        return [line for line in text.splitlines() if line[:1] not in ("", "#") and "import" not in line], again

    def test_layers_are_written_with_what_differs_from_the_defaults(self):
        neck = FPN(8, 3, 5, norm=keras.layers.BatchNormalization(momentum=0.9))
        lines, again = self.written(neck)
        self.assertEqual(
            lines,
            [
                "part/norm/BatchNorm.momentum = 0.9",
                "part/FPN.filters = 8",
                "part/FPN.max_level = 5",
                "part/FPN.min_level = 3",
                "part/FPN.norm = @part/norm/BatchNorm()",
                "ToyRun.data = @part/FPN()",
            ],
        )
        self.assertEqual(again.norm.momentum, 0.9)
        self.assertEqual(again.filters, 8)

    def test_optimizers_and_schedules_are_equal_again(self):
        for rate in (0.1, WarmupCosine(0.1, 50, 5), keras.optimizers.schedules.CosineDecay(0.1, 9)):
            for optimizer in (keras.optimizers.AdamW(rate, use_ema=True), keras.optimizers.SGD(rate, momentum=0.9)):
                again = self.written(optimizer)[1]
                self.assertIs(type(again), type(optimizer))
                self.assertEqual(again.get_config(), optimizer.get_config())

    def test_partials_classes_functions_and_literals(self):
        batches = functools.partial(TrainBatches, crop=np.array([64, 96]), augmentation=[QuarterTurns(False)])
        lines, made = self.written(batches, use=lambda kind: kind(Empty(), (128, 128), 2))
        self.assertIn("part/TrainBatches.augmentation = [@part/augmentation_0/QuarterTurns()]", lines)
        self.assertEqual(made.crop, (64, 96))
        self.assertFalse(made.augmentation[0].turns)
        self.assertEqual(self.written(half)[1](3), 1.5)
        self.assertEqual(self.written({"a": (np.float32(0.5), None)})[1], {"a": (0.5, None)})
        policy = self.written(Policy([("neck/.*", "frozen")], until=3))[1]
        self.assertEqual((policy.rules, policy.until), ([("neck/.*", "frozen")], 3))

    def test_a_default_is_written_where_the_configuration_binds_another_value(self):
        lines, again = self.written(toys.ToyNeck(repeats=9), "ToyNeck.filters = 5")
        self.assertIn("part/ToyNeck.filters = 64", lines)
        self.assertEqual((again.filters, again.repeats), (64, 9))

    def test_what_cannot_be_written_is_named_with_what_to_do(self):
        for value, message in (
            (lambda: 1, r"Run.part needs the function .*<lambda> of .*Decorate it with @gin.configurable"),
            (Unknown(), r"Run.part needs the class Unknown of the module tests.config.from_objects_test"),
            (toys.ToyNeck(Unknown()), r"Run.part: ToyNeck.filters needs the class Unknown"),
            ([toys.ToyNeck(float("inf"))], r"Run.part\[0\]: ToyNeck.filters is inf, which config.gin cannot hold"),
            (Forgetful(), r"Forgetful has an argument 'size' and no attribute .*Keep it: self.size = size"),
        ):
            with self.subTest(message), self.assertRaisesRegex(ConfigError, message), Configuration().active():
                gin_value(value, "part", "Run.part")

    def test_a_class_of_a_script_or_notebook_is_refused(self):
        kind = type("Here", (Unknown,), {"__module__": "__main__"})
        gin.configurable(kind)
        with self.assertRaisesRegex(ConfigError, "Here, which is defined in __main__, .* a .py file on PYTHONPATH"):
            with Configuration().active():
                constructed(kind(), "part", "Run.part", evaluate=True)

    def test_the_norm_of_gin_is_the_class_of_keras(self):
        self.assertIsInstance(self.written(BatchNorm(momentum=0.5))[1], keras.layers.BatchNormalization)
