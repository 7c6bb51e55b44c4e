import contextlib
import io
import os
import subprocess
import sys

import tensorflow as tf

from tf_frozen import cli
from tf_frozen.config import gin_files


class ConfigsTest(tf.test.TestCase):
    def test_one_line_a_file_with_its_purpose_runnable_ones_first(self):
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            self.assertEqual(cli.main(["configs"]), 0)
        rows = [line.split(maxsplit=1) for line in printed.getvalue().splitlines()]
        self.assertEqual([tuple(row) for row in rows], gin_files.shipped())
        names = [name for name, _ in rows]
        self.assertEqual(names[0], "quickstart.gin")
        self.assertLess(names.index("runs/train_on_coco_json.gin"), names.index("datasets/coco_json.gin"))

    def test_a_reader_that_has_left_ends_it_without_a_word(self):
        reader, writer = os.pipe()
        os.close(reader)
        with open(writer, "w") as out:
            words = [sys.executable, "-m", "tf_frozen", "configs"]
            ended = subprocess.run(words, stdout=out, stderr=subprocess.PIPE, text=True, timeout=120)
        self.assertEqual((ended.returncode, ended.stderr), (141, ""))


if __name__ == "__main__":
    tf.test.main()
