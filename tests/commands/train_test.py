import json
import os
import re
import tempfile
from pathlib import Path

import pytest
import tensorflow as tf

from tests.commands import job
from tests.training import tiny_run
from tests.training.lab import text
from tests.training.tiny import state


def events(run):
    """What TensorBoard's files of a run hold: values of scalars and pictures by tag, each with its step."""
    found = {}
    for path in sorted(Path(run, "tensorboard").iterdir()):
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            for value in event.summary.value:
                content = value.image if value.HasField("image") else value.simple_value
                found.setdefault(value.tag, []).append((event.step, content))
    return found


@pytest.mark.slow
class WholeJobTest(tf.test.TestCase):
    """One run that took three processes: killed, interrupted, finished."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.job = job.trained()
        cls.model_dir = cls.job.model_dir

    def read(self, name):
        return json.loads((self.model_dir / name).read_text())

    def test_after_kill_9_it_goes_on_from_a_checkpoint(self):
        killed, after = self.job.killed, self.job.interrupted
        self.assertEqual(killed.code, -9, killed.output)
        self.assertIn("Starting: 40 steps of 2 images in all, 20 epochs of 4 images.", killed.output)
        before_the_first = killed.output.partition("step 1 took")[0]
        self.assertRegex(before_the_first, r"The next 40 steps may take \d+:\d\d, by their multiply-adds")
        self.assertBetween(killed.saved, 5, job.STEPS - 1)
        going_on = int(re.search(r"Resuming from step (\d+):", after.output)[1])
        self.assertBetween(going_on, killed.saved - 1, killed.saved)

    def test_ctrl_c_saves_and_says_how_to_go_on(self):
        stopped, after = self.job.interrupted, self.job.finished
        self.assertEqual(stopped.code, 130, stopped.output)
        said = re.search(r"Stopped by Ctrl-C after step (\d+) of 40 and saved. .*same command", stopped.output)
        self.assertEqual(int(said[1]), stopped.saved)
        self.assertLess(stopped.saved, job.STEPS)
        self.assertIn(f"Resuming from step {stopped.saved}:", after.output)
        self.assertNotIn("The configuration differs", after.output)
        self.assertNotIn("Scores on the val split", stopped.output)

    def test_says_what_is_frozen_and_ends_with_scores_and_places(self):
        code, output, saved = self.job.finished
        self.assertEqual((code, saved), (0, job.STEPS), output)
        self.assertIn("Frozen: backbone, because its mode is 'frozen'", output)
        self.assertIn("frozen variables are bit for bit what they were", output)
        self.assertRegex(output, r"\nAP50 +\d\.\d{3} ")
        self.assertRegex(output, r"The SavedModel, reloaded without tf_frozen, gives the same [1-9]\d* detections on 2")
        self.assertIn("run/saved_model", output)
        self.assertEqual(output.count("the best of the run"), 1)
        self.assertNotIn("Nothing used these gin bindings", output)
        self.assertNotIn("configuration is not the one", output)

    def test_every_figure_of_the_summary(self):
        summary = self.read("summary.json")
        names = "seconds training_seconds scoring_seconds images_per_second peak_memory_bytes metrics seed saved_model"
        self.assertEqual(set(summary), {*names.split(), "trainable_parameters", "frozen_parameters"})
        self.assertContainsSubset({"AP", "AP50", "AP75", "APs", "APm", "APl", "AR100"}, set(summary["metrics"]))
        self.assertBetween(summary["seconds"], 1, 3600)
        self.assertBetween(summary["images_per_second"], 0.1, 1000)
        scoring, training = summary["scoring_seconds"], summary["training_seconds"]
        self.assertTrue(0 < scoring < training < summary["seconds"], summary)
        took = f"{scoring / 60:.1f} of {training / 60:.1f} minutes, {100 * scoring / training:.0f} %"
        self.assertIn(f"Scoring while training took {took}.", self.job.finished.output)
        self.assertBetween(summary["peak_memory_bytes"], 10**8, 10**10)
        self.assertEqual(summary["seed"], 0)
        self.assertGreater(summary["trainable_parameters"], 1000)
        self.assertGreater(summary["frozen_parameters"], summary["trainable_parameters"])
        self.assertEqual(summary["saved_model"], str(self.model_dir.resolve() / "saved_model"))

    def test_the_run_directory_holds_what_the_other_commands_need(self):
        self.assertEqual(self.read("classes.json"), [{"id": 7, "name": "tree"}, {"id": 90, "name": "shrub"}])
        environment = self.read("environment.json")
        self.assertEqual(environment["packages"]["tensorflow"], tf.__version__)
        config, operative = ((self.model_dir / name).read_text() for name in ("config.gin", "operative_config.gin"))
        self.assertIn("NUM_CLASSES = 2\n", config)
        self.assertRegex(config, rf"TRAIN_ANNOTATIONS =[ \\\n]+'{self.job.folder.resolve()}/train.json'")
        self.assertIn("FPN.filters = 8\n", operative)
        self.assertTrue((self.model_dir / "saved_model" / "saved_model.pb").is_file())
        self.assertEmpty(list(self.model_dir.rglob("*.tmp")))

    def test_the_magnification_of_training_is_in_the_run_and_its_export(self):
        found = self.read("magnification.json")
        # Tiles of 400 pixels fill a frame of 128 at 0.32, times 0.65 to 1.3.
        self.assertAllClose([found["low"], found["median"], found["high"]], [0.208, 0.312, 0.416], rtol=1e-3)
        self.assertLess(found["object_side"]["low"], found["object_side"]["high"])
        self.assertEqual(self.read("saved_model/assets.extra/tf_frozen.json")["magnification"], found)
        self.assertNotIn("another magnification", self.job.finished.output)

    def test_the_audit_covers_the_whole_run(self):
        audit = self.read("freezing.json")
        self.assertEqual((audit["verdict"], audit["violations"]), ("frozen", []))
        self.assertEqual((audit["changed"], audit["optimizer_slots"], audit["regularized"]), (0, 0, 0))
        self.assertEqual(audit["start"], audit["end"])
        self.assertGreater(audit["frozen_variables"], 50)
        self.assertIn("backbone/stage_2/stem_conv/kernel", audit["start"]["fingerprints"])

    def test_metrics_of_each_scoring(self):
        lines = [json.loads(line) for line in (self.model_dir / "metrics.jsonl").read_text().splitlines()]
        best = self.read("best/best.json")
        self.assertEqual([line["step"] for line in lines], [job.SCORED_AT, job.STEPS, best["step"]])
        self.assertEqual([line["images"] for line in lines], [2, 2, 2])
        self.assertEqual(best["value"], max(line["AP"] for line in lines[:2]))
        metrics = self.read("summary.json")["metrics"]
        self.assertEqual({name: lines[-1][name] for name in metrics}, metrics)

    def test_results_carry_the_ids_of_the_data(self):
        rows = self.read("predictions/results.json")
        self.assertEqual({row["image_id"] for row in rows}, {"val 0", "val 1"})
        by_category = {number: [r["score"] for r in rows if r["category_id"] == number] for number in (7, 90)}
        self.assertLen(rows, sum(map(len, by_category.values())))
        # Seven of eight boxes are shrubs.
        self.assertGreater(sum(by_category[90]), sum(by_category[7]))

    def test_pictures_of_the_val_images(self):
        names = {path.name for path in (self.model_dir / "predictions").iterdir()}
        self.assertEqual(names, {"results.json", "val_0000_0000.png", "val_0000_0416.png"})

    def test_tensorboard_holds_losses_learning_rate_scores_and_pictures(self):
        found = events(self.model_dir)
        parts = {"loss", "rpn_score_loss", "rpn_box_loss", "class_loss", "box_loss"}
        self.assertContainsSubset({f"train/{part}" for part in parts}, set(found))
        self.assertEqual([step for step, _ in found["train/loss"]][-1], job.STEPS)
        rate = dict(found["train/learning_rate"])
        self.assertBetween(rate[job.STEPS // 2], 3e-3, 1e-2)
        self.assertBetween(rate[job.STEPS], 0, 2e-4)
        self.assertEqual(sorted({step for step, _ in found["val/AP50"]}), [job.SCORED_AT, job.STEPS])
        picture = dict(found["val/val_0000_0000"])[job.STEPS]
        self.assertEqual((picture.height, picture.width), tf.io.decode_png(picture.encoded_image_string).shape[:2])

    def test_a_resumed_run_ends_where_one_without_a_break_ends(self):
        with tempfile.TemporaryDirectory() as folder:
            job.write_job(folder)
            process = job.Process(job.train_words("", "run"), Path(folder, "log"), folder)
            # The state is that of the last step; the rest of the job is of no interest here.
            listed = os.path.join(folder, "run", "checkpoints", "checkpoint")
            self.assertEqual(process.end(9, lambda: f"ckpt-{job.STEPS}" in text(listed)), -9, process.output)
            straight, _ = state(os.path.join(folder, "run"))
        resumed, step = state(str(self.model_dir))
        self.assertEqual(step, job.STEPS)
        self.assertEqual(set(resumed), set(straight))
        different = {name: abs(resumed[name] - straight[name]).max() for name in resumed}
        self.assertEqual({name: gap for name, gap in different.items() if gap}, {})


class RefusalTest(tf.test.TestCase):
    """What stops `tf-frozen train` with exit code 2 and a message."""

    def setUp(self):
        super().setUp()
        self.folder = Path(self.enter_context(tempfile.TemporaryDirectory()))
        self.model_dir = self.folder / "run"
        job.write_job(self.folder)

    def refused(self, *params, flags=(), files=(), model_dir=None):
        words = job.train_words(self.folder, model_dir or self.model_dir, *params, files=files)
        code, out, err = job.command(*words, *flags)
        self.assertEqual(code, 2, f"{out}\n{err}")
        self.assertNotIn("Traceback", err)
        self.assertNotIn("In call to configurable", err)
        return err

    def assert_untouched(self):
        self.assertFalse(self.model_dir.exists())

    def test_a_loss_that_is_no_number(self):
        folder = tiny_run.write(self.folder / "tiny")
        params = ("TRAIN_STEPS = 20", "LEARNING_RATE = 1e30", "WARMUP_STEPS = 1")
        code, out, error = job.command(*tiny_run.words(folder, self.model_dir, *params))
        self.assertEqual(code, 2, f"{out}\n{error}")
        self.assertNotIn("Traceback", error)
        error = error.partition("The loss part ")[2]
        part, step = re.match(r"'(\w+)' is (?:nan|inf) at step (\d+) ", error).groups()
        self.assertIn(part, {"class_loss", "box_loss"})
        ids = re.search(r"Image ids of the batch: (.*)\.\n", error)[1].split(", ")
        self.assertLen(ids, 2)
        self.assertContainsSubset(ids, [f"train {number}" for number in range(4)])
        values, saved = state(str(self.model_dir))
        self.assertLess(saved, int(step))
        for name, value in values.items():
            self.assertAllEqual(tf.math.is_finite(tf.cast(value, tf.float64)), tf.ones(value.shape, bool), name)

    def test_faulty_data_all_of_it_before_any_step(self):
        for split in ("train", "val"):
            document = json.loads((self.folder / f"{split}.json").read_text())
            document["annotations"][3]["bbox"] = [390, 390, 50, 50]
            document["annotations"][4]["category_id"] = 8
            (self.folder / f"{split}.json").write_text(json.dumps(document))
        (self.folder / "photos" / "train_0000_0380.jpg").unlink()
        (self.folder / "photos" / "val_0000_0000.jpg").write_bytes(b"not a photo")
        error = self.refused()
        for expected in ("train_0000_0380.jpg", "val_0000_0000.jpg", "train.json", "val.json", "[390, 390, 50, 50]"):
            self.assertIn(expected, error)
        self.assertEqual(error.count("3 faults"), 2)
        self.assert_untouched()

    def test_val_categories_that_were_not_trained(self):
        document = json.loads((self.folder / "val.json").read_text())
        document["categories"][0]["name"] = "bush"
        (self.folder / "val.json").write_text(json.dumps(document))
        error = self.refused()
        self.assertIn("(90, 'bush')", error)
        self.assertIn("(90, 'shrub')", error)
        self.assert_untouched()

    @pytest.mark.slow
    def test_going_on_with_classes_of_other_names(self):
        run = job.copy_of_trained(self.folder / "copy").model_dir
        before = {name: (run / name).read_bytes() for name in ("classes.json", "config.gin", "metrics.jsonl")}
        for split in ("train", "val"):
            path = self.folder / f"{split}.json"
            document = json.loads(path.read_text())
            first, second = document["categories"]
            first["name"], second["name"] = second["name"], first["name"]
            path.write_text(json.dumps(document))
        error = self.refused(model_dir=run)
        self.assertIn("(7, 'shrub') here, (7, 'tree') there", error)
        self.assertIn(str(run / "classes.json"), error)
        self.assertEqual({name: (run / name).read_bytes() for name in before}, before)

    def test_missing_data_macros(self):
        code, _, error = job.command("train", "--gin_file=runs/train_on_coco_json.gin", f"--model_dir={self.model_dir}")
        self.assertEqual(code, 2)
        for macro in ("TRAIN_ANNOTATIONS", "TRAIN_IMAGES", "VAL_ANNOTATIONS", "VAL_IMAGES"):
            self.assertIn(f"""--gin_param '{macro} = "..."'""", error)
        self.assertIn("a COCO JSON with boxes", error)
        self.assert_untouched()

    def test_slips_of_the_pen_name_what_was_meant(self):
        slips = {
            "FPN.filter = 9": "'filters'",
            "FPM.filters = 9": "'FPN'",
            "TRAIN_STEPS = %BATCHSIZE": "'BATCH_SIZE'",
            "TRAIN_ANNOTATIONS = train.json": 'TRAIN_ANNOTATIONS = "train.json"',
        }
        for param, expected in slips.items():
            with self.subTest(param):
                error = self.refused(param)
                self.assertStartsWith(error, "--gin_param 5: ")
                self.assertIn(expected, error)
        self.assertIn("'schedules/adamw_cosine.gin'", self.refused(files=["adamw_cosine.gin"]))
        self.assert_untouched()

    def test_values_that_cannot_be(self):
        wrong = {
            "BATCH_SIZE = 0": "BATCH_SIZE is 0; it must be an integer from 1",
            "BATCH_SIZE = 2.5": "BATCH_SIZE is 2.5; it must be an integer",
            "TRAIN_STEPS = 'many'": "TRAIN_STEPS is 'many'; it must be an integer",
            "TRAIN_STEPS = -1": "TRAIN_STEPS is -1",
            "LEARNING_RATE = 'fast'": "LEARNING_RATE is 'fast'; it must be a finite number",
            "SEED = None": "SEED is None; it must be an integer",
            "FRAME = 512": "Did you mean (512, 512)?",
            "FRAME = (0, 128)": "FRAME is (0, 128)",
            "BACKBONE_MODE = 'frozn'": "'frozn'; it must be one of 'frozen', 'fine_tune'",
            "EfficientNetLite.weights = None": "BACKBONE_MODE = 'scratch'",
        }
        for param, expected in wrong.items():
            with self.subTest(param):
                self.assertIn(expected, self.refused(param))
        self.assert_untouched()

    def test_a_misspelt_macro(self):
        self.assertIn("'TRAIN_STEP'. Did you mean 'TRAIN_STEPS'?", self.refused("TRAIN_STEP = 3"))
        self.assert_untouched()

    def test_strict_makes_an_unused_binding_an_error(self):
        error = self.refused("other/NASFPN.filters = 3", flags=["--strict"])
        self.assertIn("other/NASFPN.filters = 3 (--gin_param 5)", error)
        self.assert_untouched()

    @pytest.mark.slow
    def test_the_run_of_another_architecture(self):
        run = job.copy_of_trained(self.folder / "copy").model_dir
        config = (run / "config.gin").read_text()
        error = self.refused("FPN.filters = 16", model_dir=run)
        self.assertIn("was written by another model", error)
        self.assertIn("another model_dir", error)
        self.assertEqual((run / "config.gin").read_text(), config)


if __name__ == "__main__":
    tf.test.main()
