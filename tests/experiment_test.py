import os
import subprocess
import sys
import tempfile
from pathlib import Path

import gin
import tensorflow as tf

from tf_frozen import experiment, gin_files
from tf_frozen.errors import ConfigError, DataError, RunError
from tf_frozen.keras_flavor import keras


@gin.configurable
class ToyNeck:
    def __init__(self, filters=64, repeats=3):
        self.filters, self.repeats = filters, repeats


@gin.configurable
class ToyLayer(keras.layers.Layer):
    def __init__(self, filters=64, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters


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
        experiment.load([self.file(text)], gin_params)

    def build(self):
        with experiment.explained():
            return ToyRun()

    def fault(self, function, *arguments, error=ConfigError):
        with self.assertRaises(error) as raised:
            function(*arguments)
        return str(raised.exception)


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


class FaultTest(GinTest):
    def test_names_the_place_the_line_and_the_nearest_names(self):
        faults = {
            "ToyNek.filters = 3": ("'ToyNek'", "'ToyNeck'"),
            "ToyRun.neck = @big/ToyNek()": ("'ToyNek'", "'ToyNeck'"),
            "ToyNeck.filter = 3": ("'ToyNeck'", "'filter'", "'filters'"),
            "ToyNeck.zzz = 3": ("'zzz'", "filters, repeats"),
            "ToyRun.steps = %TRAIN_STEP": ("'TRAIN_STEP'", "'TRAIN_STEPS'"),
            "include 'quickstrat.gin'": ("'quickstrat.gin'", "'quickstart.gin'"),
            "include 'train_on_coco_json.gin'": ("'runs/train_on_coco_json.gin'",),
            "include 'ru.gin'": ("'ru.gin'", "'run.gin'"),
            "import tf_frozen.necks.nas_fpm": ("'tf_frozen.necks.nas_fpm'", "'tf_frozen.necks.nas_fpn'"),
            "import tf_frozen.nekcs.nas_fpn": ("'tf_frozen.nekcs'", "'tf_frozen.necks'"),
            "import my_own_neck": ("'my_own_neck'", "PYTHONPATH"),
        }
        for line, expected in faults.items():
            with self.subTest(line):
                message = self.fault(self.load, f"{RUN}\n{line}\n")
                self.assertStartsWith(message, "run.gin:7: ")
                self.assertEndsWith(message, f"\n    {line}")
                for name in expected:
                    self.assertIn(name, message)
                parameter = self.fault(self.load, RUN, "ToyNeck.repeats = 3", line)
                self.assertStartsWith(parameter, "--gin_param 2: ")

    def test_counts_lines_inside_a_list_and_a_block(self):
        self.assertIn("run.gin:3: ", self.fault(self.load, "ToyRun.name = [\n  1,\n  @ToyNek()\n]\n"))
        self.assertIn("run.gin:3: ", self.fault(self.load, "ToyNeck:\n  filters = 3\n  filtrs = 4\n"))
        self.assertIn("run.gin:1: ", self.fault(self.load, "ToyNek:\n  filters = 3\n"))

    def test_names_the_included_file(self):
        self.file("\nToyNeck.filtrs = 3", "parts/neck.gin")
        self.assertStartsWith(self.fault(self.load, "include 'parts/neck.gin'"), "parts/neck.gin:2: ")

    def test_an_ambiguous_name_lists_what_it_may_mean(self):
        gin.external_configurable(dict, name="twin", module="first")
        gin.external_configurable(list, name="twin", module="second")
        self.assertIn("first.twin or second.twin", self.fault(self.load, "ToyRun.name = @twin"))

    def test_a_macro_that_nothing_defines_is_reported_once_with_how_to_give_it(self):
        message = self.fault(self.load, "ToyRun.steps = %STEPS\nToyRun.name = %STEPS\nToyRun.data = [%DATA]")
        self.assertEqual(message.count("'STEPS'"), 1)
        self.assertIn("run.gin:3: ", message)
        self.assertIn("--gin_param 'DATA = ...'", message)

    def test_a_module_whose_own_import_fails_is_not_called_missing(self):
        self.file("import not_there_at_all", "toy_broken_module.py")
        self.enter_context(tf.compat.v1.test.mock.patch.object(sys, "path", [str(self.folder), *sys.path]))
        message = self.fault(self.load, "import toy_broken_module")
        self.assertIn("toy_broken_module needs the module 'not_there_at_all'", message)

    def test_a_python_error_in_an_imported_module_keeps_its_own_form(self):
        self.file("def", "toy_wrong_module.py")
        self.enter_context(tf.compat.v1.test.mock.patch.object(sys, "path", [str(self.folder), *sys.path]))
        message = self.fault(self.load, "import toy_wrong_module", error=SyntaxError)
        self.assertIn("toy_wrong_module.py", message)

    def test_what_is_not_gin_comes_with_what_was_likely_meant(self):
        meant = {
            "TRAIN_IMAGES = photos": 'TRAIN_IMAGES = "photos"',
            "TRAIN_IMAGES = /data/my photos": 'TRAIN_IMAGES = "/data/my photos"',
            "TRAIN_IMAGES = ~/photos  # mine": 'TRAIN_IMAGES = "~/photos"',
            "TRAIN_IMAGES photos": 'TRAIN_IMAGES = "photos"',
            "TRAIN_IMAGES = 'photos": 'TRAIN_IMAGES = "photos"',
            "TRAIN_IMAGES =": "TRAIN_IMAGES = ...",
            "ToyRun.name = true": "ToyRun.name = True",
            "ToyRun.steps = TRAIN_STEPS": "ToyRun.steps = %TRAIN_STEPS",
            "ToyRun.neck = ToyNeck()": "ToyRun.neck = @ToyNeck()",
            "ToyRun.name = 512, 512": "ToyRun.name = (512, 512)",
            "include necks/fpn.gin": "include 'necks/fpn.gin'",
        }
        for line, expected in meant.items():
            with self.subTest(line):
                message = self.fault(self.load, f"{RUN}{line}\n")
                self.assertStartsWith(message, "run.gin:6: ")
                self.assertIn(f": {expected}\n    {line}", message)
                message = self.fault(self.load, RUN, line)
                self.assertStartsWith(message, "--gin_param 1: ")
                self.assertIn(f"--gin_param '{expected}'\n    {line}", message)

    def test_any_other_text_that_is_not_gin_is_a_config_error_too(self):
        lines = (
            "ToyRun.name = [1, 2",
            "= 3",
            "$",
            "%",
            "a/ = 3",
            "ToyRun.name = @",
            "ToyRun:",
            "\0",
            "x = 'it's'",
        )
        for line in lines:
            with self.subTest(line):
                self.assertStartsWith(self.fault(self.load, f"\n{line}"), "run.gin:2: ")

    def test_files_that_cannot_be_read(self):
        Path("latin.gin").write_bytes(b"# caf\xe9\n")
        Path("folder.gin").mkdir()
        for name in ("latin.gin", "folder.gin", "nothing.gin"):
            with self.subTest(name):
                self.assertIn(name, self.fault(experiment.load, [name]))

    def test_a_file_that_includes_itself(self):
        self.file("include 'run.gin'", "other.gin")
        message = self.fault(self.load, "include 'other.gin'")
        self.assertIn("run.gin -> other.gin -> run.gin", message)


class ExplainedTest(GinTest):
    def test_lists_every_required_value_with_its_meaning_and_how_to_give_it(self):
        self.load(RUN_WITH_DATA)
        data = self.build().data  # Nothing has asked for the values yet.
        with self.assertRaises(ConfigError) as raised, experiment.explained():
            data()
        first, second = str(raised.exception).splitlines()
        self.assertStartsWith(first, "run.gin:12: 'TRAIN_ANNOTATIONS' has no value (COCO JSON of the training")
        self.assertEndsWith(first, """--gin_param 'TRAIN_ANNOTATIONS = "..."'""")
        self.assertEndsWith(second, """--gin_param 'TRAIN_IMAGES = "..."'""")

    def test_arguments_that_nothing_gives(self):
        cases = {
            "ToyRun.steps = 3": ["ToyRun.neck"],
            f"{RUN}ToyRun.data = @ToySource()": ["ToySource.annotations", "ToySource.images"],
            source("a.json").replace("ToySource.check = 1", ""): ["ToySource.check"],
        }
        for text, missing in cases.items():
            with self.subTest(text):
                self.load(text)
                lines = self.fault(self.build).splitlines()
                self.assertLen(lines, len(missing))
                for line, name in zip(lines, missing, strict=True):
                    self.assertIn(f"--gin_param '{name} = ...'", line)

    def test_a_keyword_that_keras_refuses_is_found_in_its_gin_file(self):
        self.load("\nToyLayer.filtrs = 3\nToyRun.neck = @ToyLayer()")
        message = self.fault(self.build)
        self.assertStartsWith(message, "run.gin:2: 'ToyLayer' has no parameter 'filtrs'. Did you mean 'filters'")

    def test_user_errors_arrive_as_they_were_raised(self):
        self.load(source("a.txt"))
        with self.assertRaises(DataError) as raised:
            self.build()
        self.assertEqual(str(raised.exception), "a.txt is not JSON.")
        self.assertEqual(raised.exception.faults, ["not json"])
        self.assertIs(type(raised.exception), DataError)

    def test_other_errors_stay_what_they_are(self):
        self.load(source("a.json"), "ToySource.check = 'x'")
        self.assertIn("concatenate", self.fault(self.build, error=TypeError))
        with self.assertRaisesRegex(TypeError, "missing 1 required"), experiment.explained():
            toy_bug()


class UnusedTest(GinTest):
    def test_all_used(self):
        self.load(RUN)
        self.build()
        self.assertEmpty(experiment.unused_bindings())
        experiment.report_unused(strict=True)

    def test_bindings_of_what_was_never_called(self):
        self.load(f"{RUN}ToySource.check = 3\nbig/ToyNeck.filters = 256")
        self.build()
        self.assertEqual(
            experiment.unused_bindings(),
            ["ToySource.check = 3 (run.gin:6)", "big/ToyNeck.filters = 256 (run.gin:7)"],
        )

    def test_a_scope_hides_the_scopes_around_it(self):
        self.load("ToyRun.neck=@big/ToyNeck()\nToyNeck.filters = 1\nbig/ToyNeck.filters = 2\nToyNeck.repeats = 9")
        neck = self.build().neck
        self.assertEqual((neck.filters, neck.repeats), (2, 9))
        self.assertEqual(experiment.unused_bindings(), ["ToyNeck.filters = 1 (run.gin:2)"])

    def test_a_value_that_the_caller_gave_instead(self):
        self.load(RUN)
        ToyRun(steps=3)
        self.assertEqual(experiment.unused_bindings(), ["ToyRun.steps = %TRAIN_STEPS (run.gin:3)"])
        self.load("ToyRun.neck = @ToyNeck\nToyNeck.filters = 16")
        self.build().neck(filters=8)
        self.assertEqual(experiment.unused_bindings(), ["ToyNeck.filters = 16 (run.gin:2)"])

    def test_what_was_handed_over_and_may_yet_be_called_is_not_reported(self):
        late = "NECK = @late/ToyRun\nlate/ToyRun.data = [@ToySource]\nToySource.check = 3"
        self.load(f"ToyRun.neck = %NECK\n{late}")
        self.build()
        self.assertEmpty(experiment.unused_bindings())

    def test_macros_that_no_file_mentions(self):
        self.load(RUN, "TRAIN_STEP = 5", "COLOUR = 'red'")
        self.build()
        typo, unknown = experiment.unused_bindings()
        self.assertEqual(typo, "TRAIN_STEP = 5 (--gin_param 1). Did you mean 'TRAIN_STEPS'?")
        self.assertStartsWith(unknown, "COLOUR = 'red' (--gin_param 2). No gin file uses this macro")

    def test_a_macro_whose_only_user_was_bound_anew_is_not_reported(self):
        self.load(RUN, "ToyRun.steps = 5")
        self.build()
        self.assertEmpty(experiment.unused_bindings())

    def test_reports_in_the_log_and_raises_when_strict(self):
        self.load(RUN, "TRAIN_STEP = 5")
        self.build()
        with self.assertLogs("tf_frozen", "WARNING") as logged:
            experiment.report_unused()
        self.assertIn("TRAIN_STEP = 5", logged.output[0])
        self.assertIn("TRAIN_STEP = 5", self.fault(experiment.report_unused, True))


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
            self.assertEqual(self.build().name, loaded)
            for left_out, name in ((3, mode), (0, loaded)):
                Path("run/freezing.json").write_text(f'{{"left_out": {{"variables": {left_out}}}}}')
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
        self.assertIn("NUM is 5, but what was counted is 6. Give the right one with --gin_param 'NUM = 6'", message)

    def test_a_folder_without_a_run(self):
        self.assertIn("nowhere", self.fault(experiment.load_run, "nowhere", error=RunError))

    def test_a_folder_that_cannot_be_written(self):
        self.load(RUN)
        Path("file").write_text("")
        self.assertIn("file/run/config.gin", self.fault(experiment.save, "file/run", error=RunError))


if __name__ == "__main__":
    tf.test.main()
