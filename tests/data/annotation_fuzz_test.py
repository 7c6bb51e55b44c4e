import subprocess
import sys

import pytest
import tensorflow as tf


class AnnotationFuzzTest(tf.test.TestCase):
    @pytest.mark.slow
    def test_mutated_annotations_and_results_are_read_or_refused_in_words(self):
        # In a separate process, because pycocotools could crash it.
        words = [sys.executable, "-m", "tests.data.annotation_fuzz", "20000", "2000"]
        done = subprocess.run(words, capture_output=True, text=True, errors="replace", timeout=900)
        lines = done.stdout.splitlines()
        self.assertEqual(done.returncode, 0, f"{lines[-1:]}\n{done.stderr[-3000:]}")
        good = int(lines[-1].split()[0])
        self.assertBetween(good, 200, 1800)


if __name__ == "__main__":
    tf.test.main()
