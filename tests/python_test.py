"""The Python face: the lines of docs/python.md, runs that Python made and commands open, and the other way round."""

import functools
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import gin
import pytest
import tensorflow as tf

import tf_frozen as tff
from tests.commands import job
from tests.training import tiny_run
from tf_frozen.data.pipeline import TrainBatches
from tf_frozen.data.samplers.repeat_factor import RepeatFactor
from tf_frozen.errors import ConfigError

PAGE = pathlib.Path(__file__).parents[1] / "docs" / "python.md"
NEON = "embedded:neon_trees/"
TINY = [
    "BACKBONE = @TinyBackbone()",
    "FPN.filters = 4",
    "FPN.min_level = 3",
    "FPN.max_level = 3",
    "DenseHead.filters = 4",
    "DenseHead.convs = 1",
]
SMALL = [
    "EfficientNetLite.levels = (2, 3)",
    "FPN.filters = 8",
    "RegionProposal.filters = 8",
    "BoxHead.fc_units = 16",
    "BoxCascade.ious = (0.5,)",
    "BoxCascade.coder_weights = ((10, 10, 5, 5),)",
]


def blocks(kind):
    return re.findall(rf"```{kind}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


class Blur:
    """An augmentation that gin does not know."""

    def __call__(self, image, objects, seed):
        return image, objects


class RunsTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(self.enter_context(tempfile.TemporaryDirectory()))
        tiny_run.finished()  # the first to make it clears gin's configuration
        gin.clear_config()

    def load(self, name, *params):
        data = job.data_params(tiny_run.finished())
        return tff.load(tiny_run.finished() / tiny_run.FILE, [*data, *params], model_dir=self.folder / name)

    def test_the_readme_shows_the_lines_of_the_page(self):
        self.assertIn(blocks("python")[0], (PAGE.parents[1] / "README.md").read_text(encoding="utf-8"))

    def test_importing_the_package_loads_no_tensorflow(self):
        code = "import sys, tf_frozen; assert 'Run' in dir(tf_frozen); print('tensorflow' in sys.modules)"
        self.assertEqual(subprocess.check_output([sys.executable, "-c", code], text=True), "False\n")
        with self.assertRaisesRegex(AttributeError, "'tf_frozen' has no attribute 'Rum'"):
            _ = tff.Rum

    def test_two_runs_stand_beside_each_other(self):
        gin.bind_parameter(f"{RepeatFactor.__name__}.threshold", 0.7)
        one, two = self.load("one", "FPN.filters = 4"), self.load("two", "FPN.filters = 8", "BATCH_SIZE = 1")
        self.assertEqual((one.batch_size, two.batch_size), (2, 1))
        self.assertLess(one.parameters()["trainable"], two.parameters()["trainable"])
        self.assertTrue(one.train())
        written = (one.model_dir / "config.gin").read_text()
        with two.configuration.active():
            active = gin.config_str()
        for text, filters in ((written, 4), (active, 8)):
            self.assertIn(f"FPN.filters = {filters}\n", text)
            self.assertNotIn("RepeatFactor.threshold = 0.7", text)
        self.assertIn("RepeatFactor.threshold = 0.7", gin.config_str())
        self.assertNotIn("FPN", gin.config_str())

    def test_a_run_of_a_command_is_opened_detects_and_is_exported(self):
        folder = self.folder / "run"
        shutil.copytree(tiny_run.finished() / "run", folder)
        shutil.rmtree(folder / "saved_model")
        run = tff.open_run(folder)
        photo = next((tiny_run.finished() / "photos").iterdir())
        found = tff.Predictor(run).detect(photo)
        written = tff.export(run, self.folder / "saved_model")
        self.assertAllClose(tff.Predictor(written).detect(photo).scores, found.scores)
        self.assertAllClose(tff.Predictor(run.restored_detector(), run.categories).detect(photo).boxes, found.boxes)
        self.assertNotEmpty(found.scores)

    def test_what_a_run_needs_and_what_it_takes_from_the_recipe(self):
        train, val = (tff.CocoJson(f"{NEON}{split}.json", f"{NEON}{split}") for split in ("train", "val"))
        with self.assertRaisesRegex(ConfigError, "Run needs detector and val_data: an instance, or what makes one"):
            tff.Run(self.folder, train_data=train)
        with self.assertRaisesRegex(TypeError, "train_step'"):
            tff.Run(self.folder, lambda: None, train, val, train_step=3)
        self.assertEqual(tff.load("runs/train_on_coco_json.gin", ["SEED = 2"], model_dir=self.folder).seed, 2)
        run = tff.Run(self.folder, lambda: None, train, val, train_steps=3)
        self.assertEqual((run.train_steps, run.batch_size, run.seed), (3, 4, 0))
        with run.configuration.active():
            self.assertEqual(gin.query_parameter("TRAIN_STEPS/gin.macro.value"), 3)
            self.assertNotIn("CocoJson", gin.config_str())

    def test_an_instance_has_to_fit_how_the_run_computes(self):
        data, detector = tff.CocoJson(f"{NEON}val.json", f"{NEON}val"), tff.retinanet(num_classes=1, frame=(64, 64))
        run = tff.Run(self.folder, detector, data, data, train_steps=1, precision="mixed_bfloat16")
        with self.assertRaisesRegex(ConfigError, "precision is 'mixed_bfloat16', but .* in 'float32'. .*lambda"):
            run.parameters()
        detector.neck.trainable = False
        with self.assertRaisesRegex(ConfigError, r"detector's neck is set not trainable.*Policy\(\[\('neck/"):
            tff.Run(self.folder, detector, data, data, train_steps=1).parameters()

    def test_what_config_gin_cannot_hold_ends_training_before_its_first_step(self):
        data, detector = tff.CocoJson(f"{NEON}val.json", f"{NEON}val"), tff.retinanet(num_classes=1, frame=(64, 64))
        batches = functools.partial(TrainBatches, augmentation=[Blur()])
        run = tff.Run(self.folder / "run", detector, data, data, train_batches=batches, train_steps=1)
        with self.assertRaises(ConfigError) as raised:
            run.train()
        self.assertIn(str(raised.exception).replace(__name__, "parts"), PAGE.read_text(encoding="utf-8"))
        self.assertEmpty(list((self.folder / "run").glob("config.gin")))


class CommandsTest(tf.test.TestCase):
    """A run of objects made in Python, which every command opens, and which Python opens again."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        job.write_data(cls.folder)
        cls.photo = shutil.copy(next((cls.folder / "photos").iterdir()), cls.folder / "new.jpg")
        train, val = (tff.CocoJson(cls.folder / f"{split}.json", cls.folder / "photos") for split in ("train", "val"))
        detector = tff.retinanet(num_classes=len(train.categories), frame=(32, 32), gin_params=TINY)
        batches = functools.partial(TrainBatches, crop=None)
        cls.run_dir = cls.folder / "run"
        tff.Run(cls.run_dir, detector, train, val, train_batches=batches, train_steps=3, batch_size=2).train()

    def test_commands_open_the_run_and_python_goes_on_with_what_they_went_on_with(self):
        for words in (
            ("evaluate", f"--model_dir={self.run_dir}"),
            ("export", f"--model_dir={self.run_dir}", f"--output={self.folder / 'exported'}"),
            ("predict", f"--model={self.run_dir}", f"--images={self.photo}", f"--output={self.folder / 'found'}"),
            ("train", f"--model_dir={self.run_dir}", "--gin_param=TRAIN_STEPS = 4", "--strict"),
        ):
            code, out, err = job.command(*words)
            self.assertEqual(code, 0, (words, err))
        self.assertIn("Resuming from step 3: 4 steps", out)
        self.assertIn("verdict: frozen", job.command("audit", f"--model_dir={self.run_dir}")[1])
        self.assertTrue(tff.open_run(self.run_dir, ["TRAIN_STEPS = 5"]).train())
        self.assertEqual(job.saved_step(self.run_dir), 5)


@pytest.mark.slow
class LinesTest(tf.test.TestCase):
    """The lines run as a script in a fresh process, on a small frame, with a small neck and small heads."""

    def test_the_script_trains_scores_detects_and_exports_and_shows_progress(self):
        folder = pathlib.Path(self.enter_context(tempfile.TemporaryDirectory()))
        job.write_data(folder)
        shutil.copy(next((folder / "photos").iterdir()), folder / "new.jpg")
        lines = blocks("python")[0].replace("train_steps=600", "train_steps=3, batch_size=2")
        lines = lines.replace("num_classes=", f"frame=(128, 128), gin_params={SMALL}, num_classes=")
        (folder / "script.py").write_text(f"{lines}\nprint(tuple(vars(found)))\n")
        words = [sys.executable, "script.py"]
        script = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
        self.assertEqual(script.returncode, 0, script.stderr[-2000:])
        for text in ("step 3/3 | ", "frozen variables are bit for bit what they were.\n", "'AP50': ", "('boxes', 'sc"):
            self.assertEqual(script.stdout.count(text), 1, text)
        self.assertTrue((folder / "saved_model" / "saved_model.pb").is_file())
        data = (folder / "runs" / "mine" / "config.gin").read_text()
        self.assertIn(f"train_data/CocoJson.annotations = '{folder.resolve()}/train.json'", data)
