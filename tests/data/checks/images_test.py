import os
import struct
import time
from unittest import mock

import numpy as np
import tensorflow as tf
from PIL import Image

from tests.data.image_samples import animated_webp, encoded, samples
from tf_frozen import progress
from tf_frozen.data.checks import images as image_checks
from tf_frozen.data.checks.images import Header, inspect_file, inspect_files
from tf_frozen.data.paths import resolve

TILE = os.path.join(resolve("embedded:neon_trees/val"), "val_0000_0000.jpg")


class InspectFileTest(tf.test.TestCase):
    def look(self, contents, decode=True):
        path = os.path.join(self.get_temp_dir(), "image")
        with open(path, "wb") as file:
            file.write(contents)
        return inspect_file(path, decode)

    def kind(self, contents, decode=True):
        return self.look(contents, decode).kind

    def test_formats_that_training_reads(self):
        image = Image.open(TILE)
        for file_format in ("JPEG", "PNG", "BMP", "GIF", "WEBP", "MPO"):
            self.assertEqual(self.look(encoded(image, file_format)), Header(345, 416, 1), file_format)

    def test_modes_that_training_reads(self):
        image = Image.open(TILE)
        for mode, file_format in [
            ("L", "JPEG"),
            ("CMYK", "JPEG"),
            ("1", "PNG"),
            ("LA", "PNG"),
            ("RGBA", "PNG"),
            ("P", "PNG"),
        ]:
            self.assertEqual(self.look(encoded(image.convert(mode), file_format)), Header(345, 416, 1), mode)

    def test_size_is_as_displayed(self):
        exif = Image.Exif()
        exif[0x0112] = 8

        self.assertEqual(self.look(encoded(Image.open(TILE), "JPEG", exif=exif)), Header(416, 345, 8))

    def test_truncated_files_are_found_by_decoding(self):
        image = Image.open(TILE)
        for file_format in ("JPEG", "PNG", "GIF", "BMP"):
            contents = encoded(image, file_format)
            for length in (len(contents) // 2, len(contents) - 30):
                self.assertEqual(self.kind(contents[:length]), "truncated_image", f"{file_format} {length}")
        with open(TILE, "rb") as file:
            contents = file.read()
        self.assertEqual(self.kind(contents[:-2]), "truncated_image")
        self.assertEqual(self.look(contents[: len(contents) // 2], decode=False), Header(345, 416, 1))

    def test_cut_in_the_header_or_no_image_at_all(self):
        with open(TILE, "rb") as file:
            contents = file.read()
        self.assertEqual(self.kind(contents[:100], decode=False), "unreadable_image")
        self.assertEqual(self.kind(b"<html>404 Not Found</html>", decode=False), "unreadable_image")
        self.assertEqual(self.look(b"", decode=False).message, "the file is empty")

    def test_damage_that_only_the_decoder_of_training_sees(self):
        contents = bytearray(encoded(Image.open(TILE), "PNG"))
        at = contents.index(b"IDAT")
        contents[at + 4 + struct.unpack(">I", contents[at - 4 : at])[0]] ^= 255  # its checksum

        self.assertEqual(self.kind(bytes(contents)), "unreadable_image")

    def test_sixteen_bits_grey_or_colour(self):
        rgb = tf.io.encode_png(np.full([4, 4, 3], 1000, np.uint16)).numpy()
        grey = Image.fromarray(np.full([4, 4], 1000, np.uint16))
        for contents in (rgb, encoded(grey, "PNG"), encoded(grey, "TIFF")):
            self.assertEqual(self.kind(contents, decode=False), "sixteen_bit_image")

    def test_formats_that_training_cannot_read(self):
        image = Image.open(TILE)
        palette = encoded(image.quantize(16), "BMP")
        for contents in (encoded(image, "TIFF"), encoded(image, "PPM"), palette):
            self.assertEqual(self.kind(contents, decode=False), "unsupported_image")

    def test_missing_file_folder_and_impossible_name(self):
        self.assertEqual(inspect_file(os.path.join(self.get_temp_dir(), "none"), False).kind, "missing_image")
        self.assertEqual(inspect_file(self.get_temp_dir(), False).kind, "unreadable_image")
        self.assertEqual(inspect_file("a\0b", False).kind, "unreadable_image")

    def test_more_pixels_than_are_decoded_or_than_pillow_opens(self):
        for side in (12_000, 20_000):
            header = encoded(Image.new("1", (side, side)), "PNG")
            self.assertEqual(self.kind(header, decode=False), "image_too_large")

    def test_animated_webp_of_any_number_of_frames(self):
        for contents in (animated_webp(), animated_webp(frames=1), animated_webp("RGBA", lossless=True)):
            for decode in (True, False):
                problem = self.look(contents, decode)
                self.assertEqual(problem.kind, "unsupported_image")
                self.assertStartsWith(problem.message, "animated WebP is not supported")

    def test_a_gif_whose_first_frame_is_smaller_than_its_screen(self):
        contents = samples()["gif"]
        problem = self.look(contents[:6] + struct.pack("<HH", 60, 30) + contents[10:])

        self.assertEqual(problem.kind, "unsupported_image")
        self.assertIn("40 x 30, does not fill its screen, 60 x 30", problem.message)

    def test_a_pipe_is_not_waited_for(self):
        path = os.path.join(self.get_temp_dir(), "pipe")
        os.mkfifo(path)

        self.assertEqual(inspect_file(path, decode=True), ("unreadable_image", "this is not a regular file"))


class InspectFilesTest(tf.test.TestCase):
    def test_keeps_the_order(self):
        found = inspect_files([TILE, "none", TILE], decode=True)

        self.assertEqual([type(item).__name__ for item in found], ["Header", "Problem", "Header"])

    def test_reports_progress_when_it_takes_long(self):
        with mock.patch.object(progress, "_SECONDS", 0.0):
            with self.assertLogs("tf_frozen", "INFO") as logs:
                inspect_files([TILE] * 3, decode=False)

        self.assertRegex(logs.output[-1], r"checking: 2/3 images \| [\d.e+]+ images/s \| 0:00 left")

    def test_an_interrupt_does_not_wait_for_the_rest(self):
        looked = []

        def slow(file, decode):
            looked.append(file)
            time.sleep(0.01)

        with (
            mock.patch.object(image_checks, "inspect_file", slow),
            mock.patch.object(progress, "_SECONDS", 0.0),
            mock.patch.object(progress._LOGGER, "info", side_effect=KeyboardInterrupt),
            self.assertRaises(KeyboardInterrupt),
        ):
            inspect_files(["image"] * 1000, decode=True)
        self.assertLess(len(looked), 500)


if __name__ == "__main__":
    tf.test.main()
