"""Small classes that gin may configure, and a test that reads texts about them."""

import os
import tempfile
from pathlib import Path

import gin
import tensorflow as tf

from tf_frozen.config.explained import explained
from tf_frozen.config.load import load_config
from tf_frozen.errors import ConfigError, DataError
from tf_frozen.keras_flavor import keras


@gin.configurable
class ToyNeck:
    def __init__(self, filters=64, repeats=3):
        self.filters, self.repeats = filters, repeats


@gin.configurable
class ToyNorm:
    def __init__(self, momentum: float = 0.99):
        self.momentum = momentum


@gin.configurable
class ToyLayer(keras.layers.Layer):
    def __init__(self, filters=64, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters


@gin.configurable
class ToyActivation:
    def __init__(self, name="relu"):
        self.function = keras.activations.get(name)


@gin.configurable
class ToySource:
    def __init__(self, annotations, images, *, check):
        if not os.path.basename(annotations).endswith(".json"):
            raise DataError(f"{annotations} is not JSON.", faults=["not json"])
        self.annotations, self.images, self.check = annotations, images, check + 0


@gin.configurable
class ToyRun:
    def __init__(self, neck=gin.REQUIRED, data=None, steps=1, name=""):
        self.neck, self.data, self.steps, self.name = neck, data, steps, name


@gin.configurable
def toy_count(annotations):
    if not os.path.exists(annotations):
        raise DataError(f"{annotations} is missing.", faults=["missing"])
    return len(Path(annotations).read_text())


@gin.configurable
def toy_bug():
    return os.path.join()


RUN = """# Purpose: a toy.
ToyRun.neck = @ToyNeck()
ToyRun.steps = %TRAIN_STEPS
ToyNeck.filters = 16
TRAIN_STEPS = 100
"""
RUN_WITH_DATA = (
    RUN
    + """
ToyRun.data = @ToySource
ToySource:
    annotations = %TRAIN_ANNOTATIONS
    images = %TRAIN_IMAGES
    check = 1
TRAIN_ANNOTATIONS = %gin.REQUIRED  # COCO JSON of the training images
TRAIN_IMAGES = %gin.REQUIRED
"""
)


def source(annotations):
    bindings = f"ToySource.annotations = '{annotations}'\nToySource.images = 'b'\nToySource.check = 1\n"
    return f"{RUN}ToyRun.data = @ToySource()\n{bindings}"


class GinTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = Path(self.enter_context(tempfile.TemporaryDirectory())).resolve()
        self.addCleanup(os.chdir, os.getcwd())
        self.addCleanup(gin.clear_config)
        os.chdir(self.folder)

    def file(self, text, name="run.gin"):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return name

    def load(self, text, *gin_params):
        load_config([self.file(text)], gin_params)

    def build(self):
        with explained():
            return ToyRun()

    def fault(self, function, *arguments, error=ConfigError):
        with self.assertRaises(error) as raised:
            function(*arguments)
        return str(raised.exception)
