import os
import subprocess
import sys

import tensorflow as tf

from tests.config.toys import RUN, RUN_WITH_DATA, GinTest
from tf_frozen.config.load import load_config


class LoadTest(GinTest):
    def test_later_files_and_parameters_win(self):
        self.file("ToyNeck.filters = 8\nToyNeck.repeats = 5", "small.gin")
        load_config([self.file(RUN), "small.gin"], ["ToyNeck.repeats = 7", "TRAIN_STEPS = 2"])
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
        load_config([self.file(RUN), "runs/main.gin"])
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

    def test_a_file_here_comes_before_a_shipped_one_of_its_name(self):
        load_config([self.file(RUN, "quickstart.gin")])
        self.assertEqual(self.build().neck.filters, 16)

    def test_loading_does_not_import_tensorflow(self):
        self.file("import json\nimport email.mime.text", "plain.gin")
        script = "import sys; from tf_frozen.config import load; load.load_config(['plain.gin'])"
        script += "; print('tensorflow' in sys.modules)"
        printed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        self.assertEqual(printed.stdout, "False\n")


if __name__ == "__main__":
    tf.test.main()
