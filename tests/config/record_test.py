import os
from pathlib import Path

import gin
import tensorflow as tf

from tests.config.toys import RUN, RUN_WITH_DATA, GinTest
from tf_frozen.config.load import load_config
from tf_frozen.config.record import config_of, save_config
from tf_frozen.errors import ConfigError, RunError


class RecordTest(GinTest):
    def test_a_saved_run_is_the_same_configuration_from_another_folder(self):
        values = {"name": "a name of many words " * 10, "data": [1e-5, -2, (3,), {4: None}, {"five": [True]}]}
        bindings = [f"ToyRun.{name} = {value!r}" for name, value in values.items()]
        self.load("\n".join([RUN, "import email.mime.text", *bindings]), "ToyNeck.filters = 5")
        self.build()
        save_config("made/run")
        written = gin.config_str()
        gin.clear_config()
        os.chdir("made")
        load_config([config_of("run")], ["TRAIN_STEPS = 7"])
        run = self.build()
        self.assertEqual((run.name, run.data), (values["name"], values["data"]))
        self.assertEqual((run.neck.filters, run.steps), (5, 7))
        self.assertIn("import email.mime.text", written)
        self.assertEqual(gin.config_str(), written.replace("TRAIN_STEPS = 100", "TRAIN_STEPS = 7"))

    def test_the_operative_config_holds_defaults_that_were_used_and_no_more(self):
        self.load(f"{RUN}ToySource.check = 3")
        self.build()
        save_config("run")
        operative = Path("run/operative_config.gin").read_text()
        self.assertIn("ToyNeck.repeats = 3", operative)
        self.assertNotIn("ToySource", operative)
        self.assertIn("ToySource.check = 3", Path("run/config.gin").read_text())
        self.assertCountEqual(os.listdir("run"), ["config.gin", "operative_config.gin"])

    def test_a_value_still_required_survives_saving(self):
        self.load(RUN_WITH_DATA)
        save_config("run")
        load_config([config_of("run")], ['TRAIN_ANNOTATIONS = "a.json"'])
        run = self.build()
        with self.assertRaisesRegex(ConfigError, "'TRAIN_IMAGES' has no value"):
            run.data()

    def test_a_folder_without_a_run(self):
        self.assertIn("nowhere", self.fault(config_of, "nowhere", error=RunError))

    def test_a_folder_that_cannot_be_written(self):
        self.load(RUN)
        Path("file").write_text("")
        self.assertIn("file/run/config.gin", self.fault(save_config, "file/run", error=RunError))


if __name__ == "__main__":
    tf.test.main()
