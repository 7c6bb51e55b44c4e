import json
import re
import shutil
import tempfile
from pathlib import Path

import gin
import tensorflow as tf

from tests.commands import job
from tests.training import tiny_run
from tf_frozen.data.category import Category
from tf_frozen.errors import RunError
from tf_frozen.training.run_directory import RunDirectory

OTHER_SHAPES = ("", "{", "\xff\xfe", "[" * 3000, "null", "3", '"text"', "[]", "[1, 2]", "{}", '{"start": 1}', "[{}]")


class FolderTest(tf.test.TestCase):
    """A copy of a finished run, in which each test spoils a file."""

    def setUp(self):
        super().setUp()
        self.addCleanup(gin.clear_config)
        self.data = tiny_run.finished()
        self.model_dir = Path(self.enter_context(tempfile.TemporaryDirectory())) / "run"
        shutil.copytree(self.data / "run", self.model_dir)

    def write(self, name, content):
        (self.model_dir / name).write_bytes(content.encode("latin-1"))

    def train(self, *params):
        """What a run that goes on warns of."""
        with self.assertLogs("tf_frozen", "WARNING") as logs:
            self.assertTrue(tiny_run.load(self.data, self.model_dir, *params).train())
        return "\n".join(logs.output)

    def command(self, name, *flags):
        return job.command(name, f"--model_dir={self.model_dir}", *flags)


class SchemaTest(FolderTest):
    def test_other_shapes_are_errors_that_name_the_file_and_the_way_on(self):
        directory = RunDirectory(self.model_dir)
        for name, read in (("classes.json", directory.classes), ("freezing.json", directory.freezing)):
            for content in OTHER_SHAPES:
                with self.subTest(name, content=content[:20]):
                    self.write(name, content)
                    with self.assertRaisesRegex(
                        RunError, rf"run/{name} .*Restore it from a copy, or run its .* command"
                    ):
                        read()
        for rows in ([{"id": "1", "name": "tree"}], [{"id": 1, "name": 3}], [{"id": True, "name": "tree"}]):
            self.write("classes.json", json.dumps(rows))
            with self.assertRaisesRegex(RunError, "classes.json is not a list of"):
                directory.classes()
        (self.model_dir / "freezing.json").unlink()
        with self.assertRaisesRegex(RunError, "is not a complete run: it has no freezing.json"):
            directory.freezing()

    def test_reads_what_a_run_wrote_also_one_of_an_earlier_version(self):
        directory = RunDirectory(self.model_dir)
        self.assertEqual(directory.classes(), [Category(7, "tree"), Category(90, "shrub")])
        record = directory.freezing()
        self.assertEqual((record["verdict"], record["proven_from"]), ("frozen", 0))
        self.assertEqual(directory.left_out(), {"variables": 12, "source": "HeNormal"})
        (self.model_dir / "freezing.json").write_text(json.dumps({"start": record["start"], "from_step": 0}))
        self.assertEqual(directory.freezing()["start"], record["start"])
        self.assertEqual(directory.left_out(), {"variables": None, "source": None})

    def test_a_damaged_magnification_is_a_warning(self):
        directory = RunDirectory(self.model_dir)
        self.assertGreater(directory.magnification()["high"], 0)
        for content in OTHER_SHAPES:
            self.write("magnification.json", content)
            if content == "{}":
                continue
            with self.subTest(content[:20]), self.assertLogs("tf_frozen", "WARNING"):
                self.assertIsNone(directory.magnification())

    def test_a_scoring_that_cannot_be_written_is_a_warning(self):
        (self.model_dir / "metrics.jsonl").unlink()
        (self.model_dir / "metrics.jsonl").mkdir()
        with self.assertLogs("tf_frozen", "WARNING") as logs:
            RunDirectory(self.model_dir).add_metrics(7, {"AP": 0.5})
        self.assertRegex(logs.output[0], "scores of step 7 are not added to .*metrics.jsonl: Is a directory")


class LostFilesTest(FolderTest):
    def test_without_freezing_json_the_proof_starts_anew_and_says_so(self):
        self.write("freezing.json", "")
        code, _, err = self.command("audit")
        self.assertEqual(code, 2)
        self.assertRegex(err, "freezing.json cannot be read: .*run its `tf-frozen train` command again")
        self.assertEqual(self.command("evaluate")[0], 0)
        said = self.train("TRAIN_STEPS = 4")
        self.assertIn(
            "nothing frozen changed before step 3 can no longer be proven; the proof starts again there", said
        )
        code, out, _ = self.command("audit")
        self.assertEqual(code, 0)
        self.assertIn("from step 3 to step 4:\n  nothing is proven of the steps before 3: freezing.json was lost", out)
        with self.subTest("and is kept by the next resumption"):
            self.assertNotIn("no longer be proven", self.train("TRAIN_STEPS = 5"))
            self.assertEqual(json.loads((self.model_dir / "freezing.json").read_text())["proven_from"], 3)

    def test_without_classes_json_training_goes_on_and_writes_it_anew(self):
        self.write("classes.json", "[{}]")
        code, _, err = self.command("evaluate")
        self.assertEqual(code, 2)
        self.assertIn("classes.json is not a list of {id, name} rows", err)
        said = self.train()
        self.assertIn("classes that this run was trained on is not checked", said)
        self.assertEqual(RunDirectory(self.model_dir).classes(), [Category(7, "tree"), Category(90, "shrub")])

    def test_a_config_that_is_not_utf_8(self):
        self.write("config.gin", "\xff\xfe")
        code, _, err = self.command("evaluate")
        self.assertEqual(code, 2)
        self.assertIn("config.gin is not UTF-8 text", err)
        self.train()
        self.assertEqual(self.command("evaluate")[0], 0)

    def test_a_run_that_may_only_be_read_is_scored(self):
        for name in ("metrics.jsonl", "metrics.json", "tensorboard", "predictions"):
            path = self.model_dir / name
            if path.exists():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            path.write_text("") if name in ("tensorboard", "predictions") else path.mkdir()
        code, out, err = self.command("evaluate")
        self.assertEqual(code, 0, err)
        self.assertRegex(out, r"\nAP50 +\d\.\d{3} ")
        self.assertIn("metrics.jsonl: Is a directory", err)
        self.assertRegex(err, "TensorBoard's events are no longer written to .*/tensorboard")
        self.assertRegex(err, "Cannot write .*/metrics.json: ")
        self.assertNotIn("Traceback", err)

    def test_a_lost_checkpoint_is_told_by_evaluate_and_audit(self):
        shutil.rmtree(self.model_dir / "best")  # of which evaluate would take its copy
        (self.model_dir / "checkpoints" / "ckpt-3.index").unlink()
        for name in ("evaluate", "audit"):
            code, out, err = self.command(name)
            self.assertEqual(code, 0, err)
            self.assertIn("ckpt-3 has lost its files .index; ckpt-2 is used", err)
            no_best = re.search("no best checkpoint in .*/best, though this run is scored every 2 steps", err)
            self.assertEqual(no_best is not None, name == "evaluate", err)
        self.assertIn("to step 2:", out)


class StartTest(FolderTest):
    """What `train` does before it looks at the data."""

    def refused(self, model_dir):
        broken = "TRAIN_ANNOTATIONS = 'missing.json'"  # the folder is tried first
        code, _, err = job.command(*tiny_run.words(self.data, model_dir, broken))
        self.assertEqual(code, 2)
        return err

    def test_a_model_dir_that_is_a_file(self):
        file = self.model_dir / "file"
        file.touch()
        self.assertRegex(
            self.refused(file), "Cannot write .*: .*/run/file is a file. Remove or rename it, or choose an"
        )

    def test_a_run_that_another_process_trains_is_left_as_it_is(self):
        config = (self.model_dir / "config.gin").read_text()
        with RunDirectory(self.model_dir).lock:
            self.assertRegex(self.refused(self.model_dir), r"Another `tf-frozen train` uses .*/run: process \d+ on ")
        self.assertEqual((self.model_dir / "config.gin").read_text(), config)
        self.assertFalse((self.model_dir / "train.lock").exists())


if __name__ == "__main__":
    tf.test.main()
