import json
import tempfile
from pathlib import Path

import tensorflow as tf

from tf_frozen.errors import RunError
from tf_frozen.feature_cache.manifest import NAME, Manifest

SETTINGS = {"FeatureCache.copies": 2, "FeatureCache.compression": "none"}
OF_THE_IMAGE = {"image_index": [[], "int32"], "image_size": [[2], "float32"], "scale": [[], "float32"]}
LAYOUT = {"maps": {"3": [[8, 8, 4], "float16"]}, "targets": OF_THE_IMAGE}


class ManifestTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = self.enter_context(tempfile.TemporaryDirectory())
        rows = {"features-00000-of-00002.shard": {"bytes": 9, "sha256": "0" * 64}}
        self.manifest = Manifest({"crop": [8, 8]}, SETTINGS, LAYOUT, "ones", 5, 3, rows)
        self.manifest.save(self.folder)

    def test_reads_what_it_wrote(self):
        self.assertEqual(Manifest.load(self.folder), self.manifest)

    def test_any_other_shape_is_an_error_that_names_the_file_and_the_way_on(self):
        path = Path(self.folder, NAME)
        content = json.loads(path.read_text())
        others = [None, 3, "text", [], {}, {"maps": 1, "targets": {}}, {"a": 1}, -1]
        for name in ("key", "settings", "layout", "records", "shard_records", "shards"):
            for value in others:
                if (name, value) in (("records", 3), ("shard_records", 3), ("shards", {}), ("source", "text")):
                    continue
                if name == "key" and isinstance(value, dict):
                    continue
                path.write_text(json.dumps(content | {name: value}))
                self.assert_refused(name, value)
        for text in ("", "[]", "null", "[" * 3000, "{", json.dumps({name: 1 for name in content})):
            path.write_text(text)
            self.assert_refused("all", text[:20])

    def assert_refused(self, name, value):
        with self.subTest(name, value=value):
            with self.assertRaisesRegex(RunError, rf"{NAME} is not the manifest of a cache .*`tf-frozen cache`"):
                Manifest.load(self.folder)


if __name__ == "__main__":
    tf.test.main()
