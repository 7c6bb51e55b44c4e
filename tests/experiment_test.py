import os
import subprocess
import sys
from pathlib import Path

import gin
import tensorflow as tf

from tests.config.toys import RUN, RUN_WITH_DATA, GinTest
from tf_frozen import experiment, gin_files
from tf_frozen.errors import ConfigError, RunError


class LoadTest(GinTest):
    def test_later_files_and_parameters_win(self):
        self.file("ToyNeck.filters = 8\nToyNeck.repeats = 5", "small.gin")
        experiment.load([self.file(RUN), "small.gin"], ["ToyNeck.repeats = 7", "TRAIN_STEPS = 2"])
        run = self.build()
        self.assertEqual((run.neck.filters, run.neck.repeats, run.steps), (8, 7, 2))

    def test_starts_afresh(self):
        self.load(RUN, "ToyNeck.repeats = 7")
        self.build()
        self.load(RUN)
        self.assertEqual(self.build().neck.repeats, 3)

    def test_includes_from_the_folder_of_the_file_before_the_current_one(self):
        self.file("include 'part.gin'\ninclude 'other.gin'", "runs/main.gin")
        self.file("TRAIN_STEPS = 1", "runs/part.gin")
        self.file("TRAIN_STEPS = 2", "part.gin")
        self.file("ToyNeck.filters = 3", "other.gin")
        experiment.load([self.file(RUN), "runs/main.gin"])
        run = self.build()
        self.assertEqual((run.steps, run.neck.filters), (1, 3))

    def test_data_paths_mean_the_same_from_any_folder(self):
        paths = {
            "a.json": str(self.folder / "a.json"),
            "~/a.json": os.path.expanduser("~/a.json"),
            "/data/../a.json": "/a.json",
            "embedded:neon_trees/train.json": "embedded:neon_trees/train.json",
            "gs://bucket/a.json": "gs://bucket/a.json",
        }
        for given, expected in paths.items():
            params = [f'TRAIN_ANNOTATIONS = "{given}"', 'TRAIN_IMAGES = ""']
            self.load(RUN_WITH_DATA, *params)
            source = self.build().data()
            self.assertEqual((source.annotations, source.images), (expected, ""))

    def test_shipped_files_are_known_by_name_from_any_folder(self):
        names = [name for name, _ in gin_files.shipped()]
        self.assertIn("quickstart.gin", names)
        self.assertLess(names.index("runs/train_on_coco_json.gin"), names.index("necks/nas_fpn_small.gin"))
        self.file("include 'necks/nas_fpn_small.gin'\nNASFPN.filters = 8", "my/neck.gin")
        experiment.load(["my/neck.gin"])
        self.assertEqual(gin.query_parameter("NASFPN.filters"), 8)
        self.assertEqual(gin.query_parameter("NASFPN.repeats"), 3)

    def test_a_file_here_comes_before_a_shipped_one_of_its_name(self):
        experiment.load([self.file(RUN, "quickstart.gin")])
        self.assertEqual(self.build().neck.filters, 16)

    def test_every_shipped_file_states_its_purpose(self):
        for name, purpose in gin_files.shipped():
            with self.subTest(name):
                self.assertNotEmpty(purpose)
                self.assertNotIn("\n", purpose)
                self.assertNotStartsWith(purpose, "Purpose")

    def test_reading_experiments_does_not_import_tensorflow(self):
        self.file("import json\nimport email.mime.text", "plain.gin")
        script = "import sys; from tf_frozen import experiment, gin_files; experiment.load(['plain.gin'])"
        script += "; gin_files.shipped(); print('tensorflow' in sys.modules)"
        printed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        self.assertEqual(printed.stdout, "False\n")


class SaveTest(GinTest):
    def test_a_saved_run_is_the_same_configuration_from_another_folder(self):
        values = {"name": "a name of many words " * 10, "data": [1e-5, -2, (3,), {4: None}, {"five": [True]}]}
        bindings = [f"ToyRun.{name} = {value!r}" for name, value in values.items()]
        self.load("\n".join([RUN, "import email.mime.text", *bindings]), "ToyNeck.filters = 5")
        self.build()
        experiment.save("made/run")
        written = gin.config_str()
        gin.clear_config()
        os.chdir("made")
        experiment.load_run("run", ["TRAIN_STEPS = 7"])
        run = self.build()
        self.assertEqual((run.name, run.data), (values["name"], values["data"]))
        self.assertEqual((run.neck.filters, run.steps), (5, 7))
        self.assertIn("import email.mime.text", written)
        self.assertEqual(gin.config_str(), written.replace("TRAIN_STEPS = 100", "TRAIN_STEPS = 7"))

    def test_the_operative_config_holds_defaults_that_were_used_and_no_more(self):
        self.load(f"{RUN}ToySource.check = 3")
        self.build()
        experiment.save("run")
        operative = Path("run/operative_config.gin").read_text()
        self.assertIn("ToyNeck.repeats = 3", operative)
        self.assertNotIn("ToySource", operative)
        self.assertIn("ToySource.check = 3", Path("run/config.gin").read_text())
        self.assertCountEqual(os.listdir("run"), ["config.gin", "operative_config.gin"])

    def test_a_value_still_required_survives_saving(self):
        self.load(RUN_WITH_DATA)
        experiment.save("run")
        experiment.load_run("run", ['TRAIN_ANNOTATIONS = "a.json"'])
        run = self.build()
        with self.assertRaisesRegex(ConfigError, "'TRAIN_IMAGES' has no value"):
            run.data()

    def test_a_saved_run_is_built_without_the_weights_that_it_began_from(self):
        for mode, loaded in (("frozen", "frozen_random"), ("fine_tune", "scratch"), ("scratch", "scratch")):
            self.load(f"{RUN}ToyRun.name = %BACKBONE_MODE\nBACKBONE_MODE = '{mode}'")
            experiment.save("run")
            experiment.load_run("run")
            self.assertEqual(self.build().name, mode)  # It is not known what the checkpoints hold.
            record = '{"left_out": {"variables": %s}}'
            for text, name in ((record % 3, mode), (record % 0, loaded), ("{}", mode), ("[1]", mode)):
                Path("run/freezing.json").write_text(text)
                experiment.load_run("run")
                self.assertEqual(self.build().name, name)
            Path("run/freezing.json").unlink()

    def test_a_macro_gets_the_value_that_it_turned_out_to_have(self):
        for text in ("NUM = @ToyNeck()", "NUM = 5"):
            self.load(f"{RUN}ToyRun.name = %NUM\n{text}")
            experiment.pin_macro("NUM", 5, "what was counted")
            experiment.pin_macro("NO_MACRO", 5, "what was counted")
            self.assertEqual(self.build().name, 5)
        message = self.fault(experiment.pin_macro, "NUM", 6, "what was counted")
        self.assertIn("NUM is 5, but what was counted is 6. Give the right one with `gin_params` 'NUM = 6'", message)

    def test_a_folder_without_a_run(self):
        self.assertIn("nowhere", self.fault(experiment.load_run, "nowhere", error=RunError))

    def test_a_folder_that_cannot_be_written(self):
        self.load(RUN)
        Path("file").write_text("")
        self.assertIn("file/run/config.gin", self.fault(experiment.save, "file/run", error=RunError))


if __name__ == "__main__":
    tf.test.main()
