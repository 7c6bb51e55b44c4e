"""A run by gin whose detector is built and traced within seconds."""

import functools
import pathlib

import gin

from tests import shared
from tests.commands import job
from tf_frozen.backbones.backbone import Backbone
from tf_frozen.config.load import load_config
from tf_frozen.export.saved_model import export
from tf_frozen.keras_flavor import keras
from tf_frozen.training.run import Run

STEPS = 3
FILE = "tiny_run.gin"
PRETRAINED = ("backbones/efficientnet_lite0.gin",)  # another file makes it a run on a real backbone, which is slower
GIN = f"""
include 'datasets/coco_json.gin'
include 'schedules/short_run.gin'
include 'detectors/retinanet.gin'
import tests.training.tiny_run
import tf_frozen.heads.dense_head
import tf_frozen.necks.fpn

TRAIN_STEPS = {STEPS}
BATCH_SIZE = 2
WARMUP_STEPS = 1
FRAME = (32, 32)
TrainBatches.crop = None
Run.checkpoint_seconds = 0
TinyBackbone.mode = %BACKBONE_MODE
BACKBONE = @TinyBackbone()
FPN.filters = 4
FPN.min_level = 3
FPN.max_level = 3
NECK = @FPN()
DenseHead.num_classes = %NUM_CLASSES
DenseHead.filters = 4
DenseHead.convs = 1
DenseHead.anchors = @dense/Anchors()
dense/Anchors.octaves = 1
dense/Anchors.ratios = (1.0,)
DenseHead.nms = @dense/NMS()
dense/NMS.candidates = 1000
dense/NMS.score_threshold = 0.0
DETECTIONS = 5
dense/NMS.detections = %DETECTIONS
HEAD = @DenseHead()
SingleStage.weight_decay = 0.0
"""


@gin.configurable
@keras.utils.register_keras_serializable("tests")
class TinyBackbone(Backbone):
    """Two stages of a convolution and a norm, at levels 2 and 3, of the same weights each time."""

    def __init__(self, mode="frozen", **kwargs):
        maps = [keras.Input([None, None, 3])]
        for stage, stride in (("first", 4), ("second", 2)):
            initial = keras.initializers.HeNormal(seed=stride)
            conv = keras.layers.Conv2D(4, stride, stride, "same", kernel_initializer=initial, name=f"{stage}_conv")
            norm = keras.layers.BatchNormalization(name=f"{stage}_norm")
            maps.append(norm(conv(maps[-1])))
        super().__init__(keras.Model(maps[0], maps[1:]), (2, 3), mode, "HeNormal", **kwargs)

    def preprocess(self, images):
        return images / 64.0 - 2.0

    def get_config(self):
        return {"mode": self.mode}


def write(folder):
    """Writes data and the gin file to a folder, and returns its path."""
    job.write_data(folder)
    pathlib.Path(folder, FILE).write_text(GIN)
    return pathlib.Path(folder)


def words(folder, model_dir, *params, files=()):
    """The words of `tf-frozen train` on what `write` wrote, and further gin files."""
    params = [f"--gin_param={param}" for param in [*job.data_params(folder), *params]]
    files = [f"--gin_file={file}" for file in (pathlib.Path(folder, FILE), *files)]
    return ["train", *files, *params, f"--model_dir={model_dir}"]


def load(folder, model_dir, *params, files=()):
    """The run of these files and parameters."""
    load_config([str(pathlib.Path(folder, FILE)), *files], [*job.data_params(folder), *params])
    return Run(str(model_dir))


@functools.cache
def finished():
    """A folder with data and, in `run`, a run that trained, scored and exported; not to be changed."""
    return shared.made_once("tiny_run", _finish) / "job"


def _finish(folder):
    run = load(write(folder / "job"), folder / "job" / "run", "Run.evaluate_every = 2")
    run.train()
    run.evaluate()
    export(run.restored_detector(), run.categories, str(run.model_dir / "saved_model"))
    gin.clear_config()
