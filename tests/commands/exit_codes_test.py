import contextlib
import io
import tempfile

import gin
import tensorflow as tf

from tf_frozen import cli

MISSING = {
    "train": "--gin_file none.gin --model_dir {folder}/run",
    "evaluate": "--model_dir {folder}/none",
    "predict": "--model {folder}/none --images {folder}/none.jpg --output {folder}/out",
    "export": "--model_dir {folder}/none --output {folder}/out",
    "inspect": "--gin_file none.gin",
    "audit": "--model_dir {folder}/none",
    "cache": "--gin_file none.gin --output {folder}/out",
    "check-data": "--annotations {folder}/none.json --images {folder}",
    "score": "--annotations {folder}/none.json --results {folder}/none.json",
    "configs": "none.gin",
}


class ExitCodesTest(tf.test.TestCase):
    def test_a_missing_file_or_folder_is_wrong_use_of_every_command(self):
        self.addCleanup(gin.clear_config)
        folder = self.enter_context(tempfile.TemporaryDirectory())
        self.assertEqual(set(MISSING), set(cli.find_commands()))
        for name, words in MISSING.items():
            out, err = io.StringIO(), io.StringIO()
            with self.subTest(name), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                self.assertEqual(cli.main([name, *words.format(folder=folder).split()]), 2)
                self.assertIn("none", out.getvalue() + err.getvalue())
                self.assertNotIn("Traceback", err.getvalue())


if __name__ == "__main__":
    tf.test.main()
