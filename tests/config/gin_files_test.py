import gin
import tensorflow as tf

from tests.config.toys import GinTest
from tf_frozen.config import gin_files
from tf_frozen.config.load import load_config


class GinFilesTest(GinTest):
    def test_shipped_files_are_known_by_name_from_any_folder(self):
        names = [name for name, _ in gin_files.shipped()]
        self.assertIn("quickstart.gin", names)
        self.assertLess(names.index("runs/train_on_coco_json.gin"), names.index("necks/nas_fpn_small.gin"))
        self.file("include 'necks/nas_fpn_small.gin'\nNASFPN.filters = 8", "my/neck.gin")
        load_config(["my/neck.gin"])
        self.assertEqual(gin.query_parameter("NASFPN.filters"), 8)
        self.assertEqual(gin.query_parameter("NASFPN.repeats"), 3)

    def test_every_shipped_file_states_its_purpose(self):
        for name, purpose in gin_files.shipped():
            with self.subTest(name):
                self.assertNotEmpty(purpose)
                self.assertNotIn("\n", purpose)
                self.assertNotStartsWith(purpose, "Purpose")


if __name__ == "__main__":
    tf.test.main()
