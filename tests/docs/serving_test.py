"""The lines of docs/serving.md are run as they stand, and what it says of signatures is compared with an export."""

import contextlib
import io
import os
import pathlib
import re
import tempfile

import numpy as np
import tensorflow as tf
from PIL import Image

from tests.data.image_header_test import patched
from tests.data.image_samples import animated_webp, samples
from tests.export.stand_in import CATEGORIES, BrightBox, photo
from tf_frozen.data.image_header import MAX_PIXELS
from tf_frozen.export.saved_model import export

PAGE = (pathlib.Path(__file__).parents[2] / "docs" / "serving.md").read_text(encoding="utf-8")


class ServingTest(tf.test.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = folder.name
        cls.model = tf.saved_model.load(export(BrightBox(), CATEGORIES, os.path.join(cls.folder, "saved_model")))

    def test_the_example_prints_a_line_for_each_object(self):
        Image.fromarray(photo(128, 192, (40, 100, 120, 180))).save(os.path.join(self.folder, "photo.jpg"), quality=95)
        before, printed = os.getcwd(), io.StringIO()
        self.addCleanup(os.chdir, before)
        os.chdir(self.folder)
        (block,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
        with contextlib.redirect_stdout(printed):
            exec(compile(block, "serving.md", "exec"), {})
        self.assertRegex(printed.getvalue(), r"^elm 0\.5\d: from \(100, 40\) to \(180, 120\)\n$")

    def test_signatures_are_as_the_page_says(self):
        for name, (kind, shape) in {
            "images": ("uint8", [None, None, None, 3]),
            "image_bytes": ("string", [None]),
        }.items():
            signature = self.model.signatures["serving_default" if name == "images" else name]
            spec = signature.structured_input_signature[1][name]
            self.assertEqual((spec.dtype.name, spec.shape.as_list()), (kind, shape))
            for key, output in signature.structured_outputs.items():
                self.assertIn(f"| `{key}` | {output.dtype.name} `[N", PAGE)

    def test_errors_are_as_the_page_says(self):
        self.assertIn(f"{MAX_PIXELS:,} (2²⁷) pixels", PAGE)
        good, gif = samples()["png"], patched(samples()["gif"], 6, "<HH", 41, 30)
        for images in (
            [animated_webp()],
            [good, good, good, patched(good, 16, ">II", 13_000, 13_000)],
            [b"text"],
            [good, gif],
            [good, good, good[:-30]],
        ):
            with self.assertRaises(tf.errors.InvalidArgumentError) as caught:
                self.model.signatures["image_bytes"](image_bytes=tf.constant(images))
            self.assertIn(re.search(r"assertion failed: \[(.*)\]", str(caught.exception))[1], PAGE)

    def test_values_of_16_bits_become_8(self):
        contents = tf.io.encode_png(256 * photo(64, 96, (8, 8, 40, 40)).astype(np.uint16))
        found = self.model.signatures["image_bytes"](image_bytes=contents[None])
        self.assertAllClose(found["detection_boxes"][0, 0], [8, 8, 40, 40])


if __name__ == "__main__":
    tf.test.main()
