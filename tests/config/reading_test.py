import contextlib
import sys
from pathlib import Path

import gin
import tensorflow as tf

from tests.config.toys import RUN, GinTest
from tf_frozen.config.load import load_config
from tf_frozen.errors import ConfigError


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
            "import tf_frozen.necks.mine": ("'tf_frozen.necks.mine'", "import tf_frozen.necks\n"),
            "import tf_frozen.nekcs": ("'tf_frozen.nekcs'", "'tf_frozen.necks'"),
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
                self.assertStartsWith(parameter, "`gin_params` 2: ")

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
            "ToyRun.steps 3": "ToyRun.steps = 3",
            "ToyRun.steps -0.5": "ToyRun.steps = -0.5",
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
                self.assertStartsWith(message, "`gin_params` 1: ")
                self.assertIn(f"`gin_params` '{expected}'\n    {line}", message)

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
            "ToyRun.name = '\udce9'",
            "ToyRun.name = {[]: 1}",
            f"ToyRun.name = {'[' * 3000}",
            f"ToyRun.name = {'[' * 3000}{']' * 3000}",
        )
        for line in lines:
            with self.subTest(ascii(line[:40])):
                self.assertStartsWith(self.fault(load_config, [], [f"\n{line}"]), "`gin_params` 1: ")

    def test_values_nested_deeper_than_python_goes(self):
        for depth in range(100, 500, 50):
            with contextlib.suppress(ConfigError):  # How deep is too deep differs between versions of Python.
                self.load(f"ToyNorm.momentum = {'[' * depth}{']' * depth}")

    def test_a_byte_order_mark_is_no_part_of_the_text(self):
        Path("marked.gin").write_bytes(b"\xef\xbb\xbf" + RUN.encode())
        load_config(["marked.gin"], ["\ufeffToyNeck.repeats = 7"])
        self.assertEqual(self.build().neck.repeats, 7)

    def test_a_long_line_is_shown_in_part(self):
        self.assertLess(len(self.fault(self.load, f"ToyRun.nam = {'1' * 5000}")), 500)

    def test_files_that_cannot_be_read(self):
        Path("latin.gin").write_bytes(b"# caf\xe9\n")
        Path("utf16.gin").write_bytes(RUN.encode("utf-16"))
        Path("folder.gin").mkdir()
        for name in ("latin.gin", "utf16.gin", "folder.gin", "nothing.gin"):
            with self.subTest(name):
                self.assertIn(name, self.fault(load_config, [name]))

    def test_a_file_that_includes_itself(self):
        self.file("include 'run.gin'", "other.gin")
        message = self.fault(self.load, "include 'other.gin'")
        self.assertIn("run.gin -> other.gin -> run.gin", message)


if __name__ == "__main__":
    tf.test.main()
