import copy
import pathlib
import re

import gin
import tensorflow as tf

from tf_frozen.config.load import load_config
from tf_frozen.training.run import Run

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "your_data.md"
RUN = "runs/train_on_coco_json.gin"


class YourDataTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.addCleanup(gin.clear_config)
        self.text = " ".join(PAGE.read_text(encoding="utf-8").split())

    def test_each_binding_of_the_page_is_known(self):
        params = [
            first or second for first, second in re.findall(r"""--gin_param (?:'([^']+)'|"([^"]+)")""", self.text)
        ]
        self.assertGreater(len(params), 5)
        for param in params:
            with self.subTest(param):
                load_config([RUN], ["NUM_CLASSES = 3", "DETECTIONS = 100", param])
                # Layers take keyword arguments of Keras: only building one shows that it has no such parameter.
                copy.deepcopy(gin.get_bindings(Run, resolve_references=False)["detector"])()

    def test_each_file_of_the_page_goes_with_the_run(self):
        files = re.findall(r"--gin_file (\S+?\.gin)", self.text)
        self.assertNotEmpty(files)
        for file in files:
            with self.subTest(file):
                load_config([RUN, file])
                self.assertEqual(Run("unused").seed, 0)


if __name__ == "__main__":
    tf.test.main()
