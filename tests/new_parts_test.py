"""A neck, class loss, sampler, data source, metric and export format of one's own: one module, no file changed."""

import json
import sys
import tempfile

import gin
import pytest
import tensorflow as tf

import tf_frozen as tff
from tests.commands import job
from tests.training import tiny_run

MODULE = '''
import csv
import json
import pathlib

import gin
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2
from tf_frozen.data.category import Category
from tf_frozen.data.example import Example
from tf_frozen.data.sampling import Sampler
from tf_frozen.data.sources.image_files import ImageFiles
from tf_frozen.evaluation.metric import Metric
from tf_frozen.export.serving_module import ServingModule
from tf_frozen.keras_flavor import keras
from tf_frozen.losses.class_loss import ClassLoss


@gin.configurable
class OneConvEach(keras.layers.Layer):
    """Gives each level its own convolution, and pools the highest once for the level above it."""

    def __init__(self, filters: int = 64, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters

    def build(self, input_shape):
        self.convs = {str(level): keras.layers.Conv2D(self.filters, 1) for level in input_shape}

    def call(self, pyramid, training=None):
        levels = {level: self.convs[str(level)](x) for level, x in pyramid.items()}
        top = max(levels)
        return {**levels, top + 1: tf.nn.max_pool2d(levels[top], 2, 2, "SAME")}


@gin.configurable
class SquaredError(ClassLoss):
    """Squared error of the probabilities."""

    def __init__(self, weight: float = 1.0):
        self.weight = weight

    def __call__(self, logits, labels, targets):
        return self.weight * tf.reduce_sum(tf.math.squared_difference(tf.sigmoid(logits), labels), -1)


@gin.configurable
class Backwards(Sampler):
    """The last image first."""

    def __init__(self, examples, seed):
        self.count = len(examples)

    def place(self, position):
        return position // self.count, self.count - 1 - position % self.count


@gin.configurable
class CsvBoxes(ImageFiles):
    """A line for each box: file, height, width, y1, x1, y2, x2."""

    def __init__(self, file):
        self.file, boxes = file, {}
        for name, *numbers in csv.reader(pathlib.Path(file).open()):
            height, width, *box = map(float, numbers)
            boxes.setdefault((name, int(height), int(width)), []).append(box)
        examples = [Example(name, h, w, each, [1] * len(each)) for (name, h, w), each in boxes.items()]
        paths = [str(pathlib.Path(file).parent / "photos" / name) for name, _, _ in boxes]
        super().__init__(examples, [Category(1, "tree")], paths)


@gin.configurable
class Found(Metric):
    """How many detections there are an object."""

    names, headline = ("found",), "found"

    def evaluate(self, ground_truth, detections):
        return {"found": len(detections) / len(ground_truth["annotations"])}, []


def export_graph(detector, categories, folder):
    """Writes the served function as one graph that holds its weights, and the names of its outputs."""
    function = ServingModule(detector, categories).function().get_concrete_function()
    frozen = convert_variables_to_constants_v2(function)
    tf.io.write_graph(frozen.graph, str(folder), "graph.pb", as_text=False)
    (folder / "outputs.json").write_text(json.dumps([output.name for output in frozen.outputs]))
'''
GIN = """# Purpose: every part that can be one's own.
import new_parts
import tf_frozen.evaluation

OneConvEach.filters = 8
NECK = @OneConvEach()
DenseHead.class_loss = @SquaredError()
SquaredError.weight = 2.0
TrainBatches.sampler = @Backwards
train/CsvBoxes.file = '{folder}/train.csv'
val/CsvBoxes.file = '{folder}/val.csv'
Run.train_data = @train/CsvBoxes
Run.val_data = @val/CsvBoxes
NUM_CLASSES = 1
DETECTIONS = 5
Run.metrics = [@Found(), @CocoBoxes()]
"""


def write_csv(folder, split):
    document = json.loads((folder / f"{split}.json").read_text())
    images = {image["id"]: image for image in document["images"]}
    lines = []
    for row in document["annotations"]:
        image, (x, y, width, height) = images[row["image_id"]], row["bbox"]
        numbers = [image["height"], image["width"], y, x, y + height, x + width]
        lines.append(",".join([image["file_name"], *map(str, numbers)]))
    (folder / f"{split}.csv").write_text("\n".join(lines) + "\n")


@pytest.mark.slow
class NewPartsTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = tiny_run.write(self.enter_context(tempfile.TemporaryDirectory()) + "/job")
        for split in ("train", "val"):
            write_csv(self.folder, split)
            (self.folder / f"{split}.json").unlink()
        (self.folder / "new_parts.py").write_text(MODULE)
        (self.folder / "new_parts.gin").write_text(GIN.format(folder=self.folder))
        sys.path.insert(0, str(self.folder))
        self.addCleanup(sys.path.remove, str(self.folder))
        self.addCleanup(gin.clear_config)

    def command(self, *words):
        code, out, err = job.command(*words)
        self.assertEqual(code, 0, f"{out}\n{err}")
        return out

    def test_are_inspected_trained_scored_and_exported(self):
        files = [f"--gin_file={self.folder / name}" for name in (tiny_run.FILE, "new_parts.gin")]
        report = json.loads(self.command("inspect", *files, "--json"))
        rows = {row["path"]: row for row in report["layers"] if row["path"].startswith("neck/")}
        self.assertEqual({row["type"] for row in rows.values()}, {"Conv2D"})
        self.assertEqual(report["parts"]["neck"]["parameters"]["trainable"], 2 * (4 + 1) * 8)
        run = self.folder / "run"
        out = self.command("train", *files, f"--model_dir={run}", "--strict")
        self.assertIn("gives the same", out)
        summary = json.loads((run / "summary.json").read_text())
        self.assertEqual(summary["trainable_parameters"], report["parameters"]["trainable"])
        self.assertIn("import new_parts\n", (run / "config.gin").read_text())
        opened = tff.open_run(run)
        figures = opened.evaluate().metrics
        self.assertEqual(figures["found"], summary["metrics"]["found"])
        self.assertIn("AP50", figures)
        photo = next(iter((self.folder / "photos").iterdir()))
        found = tff.Predictor(opened).detect(photo)
        sys.modules["new_parts"].export_graph(opened.restored_detector(), opened.categories, self.folder)
        graph = tf.compat.v1.GraphDef.FromString((self.folder / "graph.pb").read_bytes())
        detect = tf.compat.v1.wrap_function(lambda: tf.import_graph_def(graph, name=""), [])
        boxes = detect.prune("images:0", json.loads((self.folder / "outputs.json").read_text())[0])
        image = tf.io.decode_image(photo.read_bytes())[tf.newaxis]
        self.assertAllClose(boxes(image)[0][: len(found.boxes)], found.boxes)
        self.assertNotEmpty(found.boxes)


if __name__ == "__main__":
    tf.test.main()
