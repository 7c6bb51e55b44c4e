"""Seeded damage to the files of a finished run: every command must end well or with an error of the product's own."""

import json
import os
import random
import shutil
import tempfile
from pathlib import Path

import gin
import pytest
import tensorflow as tf

from tests.commands import job
from tests.training import tiny_run
from tf_frozen.config.explained import explained
from tf_frozen.errors import UserError
from tf_frozen.export.predictor import Predictor
from tf_frozen.training import start_report
from tf_frozen.training.checkpoint import Checkpoints
from tf_frozen.training.opening import load_run
from tf_frozen.training.run import Run

CASES, COMMANDS = 300, 8
JSON_VALUES = (None, True, 0, -1, 10**30, 0.5, "", "text", [], [1], {}, {"a": 1}, [[]], [{}])


def flip(path, chance):
    content = bytearray(path.read_bytes())
    for _ in range(chance.choice((1, 1, 20))):
        if content:
            content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)


def truncate(path, chance):
    os.truncate(path, chance.choice((0, path.stat().st_size // 2, max(0, path.stat().st_size - 1))))


def zero(path, chance):
    path.write_bytes(b"\0" * path.stat().st_size)


def remove(path, chance):
    path.unlink()


def make_folder(path, chance):
    path.unlink()
    path.mkdir()
    (path / "inside").touch()


def swap(path, chance):
    """Another file of the run takes its place."""
    others = [other for other in path.parent.iterdir() if other.is_file() and other != path]
    if others:
        shutil.copy(chance.choice(others), path)


def reshape(path, chance):
    """JSON of another structure: anywhere in it another value, or a part less."""
    try:
        content = json.loads(path.read_text())
    except ValueError:
        content = None
    place = content
    while isinstance(place, dict | list) and place:
        key = chance.choice(list(place)) if isinstance(place, dict) else chance.randrange(len(place))
        if not isinstance(place[key], dict | list) or not place[key] or chance.random() < 0.3:
            if chance.random() < 0.5:
                place[key] = chance.choice(JSON_VALUES)
            else:
                del place[key]
            break
        place = place[key]
    else:
        content = chance.choice(JSON_VALUES)
    path.write_text(json.dumps(content))


DAMAGES = (flip, truncate, zero, remove, make_folder, swap, reshape)


@pytest.mark.slow
class RunFolderFuzzTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.addCleanup(gin.clear_config)
        self.data = tiny_run.finished()
        self.folder = Path(self.enter_context(tempfile.TemporaryDirectory()))

    def new_run(self, model_dir, built):
        """A run whose detector is built already."""
        run, detector = Run(model_dir), built.detector
        checkpoints = Checkpoints(model_dir, detector, detector.optimizer, enter=run._builder.enter)
        run._builder.built = built._replace(checkpoints=checkpoints)
        return run

    def damaged(self, seed, files):
        """A copy of the run with damage to one or two of these files, and what was done."""
        chance = random.Random(seed)
        model_dir = self.folder / f"run_{seed}"
        shutil.rmtree(model_dir, ignore_errors=True)
        shutil.copytree(self.data / "run", model_dir)
        done = []
        for _ in range(chance.choice((1, 1, 2))):
            path = chance.choice([model_dir / name for name in files if (model_dir / name).is_file()])
            damage = chance.choice(DAMAGES)
            damage(path, chance)
            done.append(f"{damage.__name__} {path.relative_to(model_dir)}")
        return model_dir, f"seed {seed}: {', '.join(done)}"

    def files(self, *excluded):
        root = self.data / "run"
        names = [path.relative_to(root).as_posix() for path in sorted(root.rglob("*")) if path.is_file()]
        return [name for name in names if not name.startswith(excluded)]

    def ends_well(self, act, what):
        try:
            act()
        except UserError as error:
            self.assertNotEmpty(str(error), what)
        except BaseException as error:
            raise AssertionError(f"{what}: {type(error).__name__}: {error}") from error

    def test_what_the_commands_read(self):
        files = self.files("saved_model", "predictions", "tensorboard", "operative", "summary")
        built = tiny_run.load(self.data, self.folder / "unused")._builder.built

        def read():
            with explained():
                load_run(str(model_dir))
                run = self.new_run(str(model_dir), built)
            for part in ("categories", "magnification"):
                self.ends_well(lambda: getattr(run, part), what)  # noqa: B023

            def changes():
                start_report.log_changes(run.directory.config())

            for each in (run.directory.freezing, run.directory.length, changes, run.restored_detector):
                self.ends_well(each, what)

        for seed in range(CASES):
            model_dir, what = self.damaged(seed, files)
            self.ends_well(read, what)
            shutil.rmtree(model_dir)

    def test_exports(self):
        for seed in range(40):
            # TensorFlow checks the variables' checksums, but not the graph's.
            model_dir, what = self.damaged(seed, [name for name in self.files() if name.startswith("saved_model/")])
            self.ends_well(lambda: Predictor(str(model_dir)), what)  # noqa: B023
            shutil.rmtree(model_dir)

    def test_the_commands(self):
        for seed in range(COMMANDS):
            model_dir, what = self.damaged(seed, self.files("saved_model"))
            flag = f"--model_dir={model_dir}"
            words = (
                ["evaluate", flag],
                ["audit", flag],
                ["export", flag, f"--output={model_dir}/other"],
                tiny_run.words(self.data, model_dir, "TRAIN_STEPS = 4"),
            )[seed % 4]
            if words[0] == "train":
                self.ends_well(lambda: tiny_run.load(self.data, model_dir, "TRAIN_STEPS = 4").train(), what)  # noqa: B023
            else:
                code, out, err = job.command(*words)
                self.assertIn(code, (0, 1, 2), f"{what}\n{out}\n{err}")
            shutil.rmtree(model_dir)


if __name__ == "__main__":
    tf.test.main()
