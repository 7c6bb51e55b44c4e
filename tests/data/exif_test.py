"""Tests of data/exif.py."""

import io
import itertools
import struct

import numpy as np
import tensorflow as tf
from PIL import Image, ImageOps

from tests.data.image_samples import encoded, exif, picture, samples
from tf_frozen.data import exif as exif_module
from tf_frozen.data.images import decode, exif_orientation


@tf.function(input_signature=[tf.TensorSpec([], tf.string)], autograph=False)
def orientation(contents):
    return exif_module.orientation(contents)


class OrientationTest(tf.test.TestCase):
    def assertSame(self, contents, expected, what=None):
        """Both ways to read it, in a graph from the whole file and of what Pillow found, give `expected`."""
        self.assertEqual(int(orientation(contents)), expected, what)
        with Image.open(io.BytesIO(contents)) as image:
            self.assertEqual(exif_orientation(image), expected, what)

    def test_all_orientations_byte_orders_and_formats_are_displayed_as_by_pillow(self):
        formats = {"PNG": {}, "WEBP": {"lossless": True}, "JPEG": {}, "MPO": {"save_all": True}}
        for (file_format, options), value, byte_order in itertools.product(formats.items(), range(1, 9), "<>"):
            contents = encoded(picture(), file_format, exif=exif(value, byte_order), **options)
            what = f"{file_format} {value} {byte_order}"
            self.assertSame(contents, value, what)
            shown = decode(contents, orientation(contents)).numpy()
            expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(contents))))
            self.assertEqual(shown.shape, expected.shape, what)
            # Only JPEG is decoded by another library than Pillow's.
            limit = 3 if file_format in ("JPEG", "MPO") else 0
            self.assertLessEqual(np.abs(shown.astype(int) - expected).mean(), limit, what)

    def test_the_block_is_found_behind_other_segments_and_fill_bytes(self):
        contents = encoded(picture(), "JPEG", exif=exif(6), icc_profile=bytes(70_000), comment=b"Exif\0\0II*\0")
        at = contents.index(b"\xff\xe1")
        segments = b"\xff\xe1\0\x06http" + b"\xff\xff" + b"\xff\xed\0\x08Photos"
        self.assertSame(contents[:at] + segments + contents[at:], 6)

    def test_no_valid_orientation_is_1(self):
        contents = samples()["jpeg"]
        whole = contents.index(b"\xff\xe1") + 4 + len(exif())
        for length in range(whole + 1):
            self.assertEqual(int(orientation(contents[:length])), 1 if length < whole - 4 else 6, length)
        for value in (0, 9, 65535):
            self.assertSame(encoded(picture(), "JPEG", exif=exif(value)), 1, value)
        for block in (b"Exif\0\0", b"Exif\0\0nonsense", exif()[:20], b"Exif\0\0II*\0" + struct.pack("<I", 2**32 - 1)):
            self.assertSame(encoded(picture(), "JPEG", exif=block), 1, block)

    def test_files_without_exif(self):
        for name, contents in samples().items():
            if name not in ("jpeg", "png", "webp") and not name.startswith("webp_animated"):
                self.assertSame(contents, 1, name)


if __name__ == "__main__":
    tf.test.main()
