"""Tests of data/image_header.py."""

import struct

import tensorflow as tf

from tests.data.image_samples import animated_webp, encoded, picture, samples
from tf_frozen.data import image_header
from tf_frozen.data.images import decode, reason


@tf.function(input_signature=[tf.TensorSpec([], tf.string)], autograph=False)
def checked(contents):
    return image_header.checked(contents, "")


def patched(contents, at, layout, *values):
    changed = bytearray(contents)
    struct.pack_into(layout, changed, at, *values)
    return bytes(changed)


class CheckedTest(tf.test.TestCase):
    def refused(self, contents):
        with self.assertRaises(tf.errors.InvalidArgumentError) as caught:
            decode(contents, 1, "photo: ")
        return reason(caught.exception)

    def test_size_of_every_format(self):
        for name, contents in samples().items():
            if not name.startswith("webp_animated"):
                self.assertAllEqual(checked(contents)[1], [30, 40], name)
        top_down = patched(samples()["bmp"], 22, "<i", -30)
        self.assertAllEqual(checked(top_down)[1], [30, 40])

    def test_animated_webp_is_refused_whatever_its_frames_are(self):
        for contents in (
            animated_webp(),
            animated_webp(lossless=True),
            animated_webp("RGBA"),
            animated_webp("RGBA", lossless=True),
            animated_webp(frames=1),
            animated_webp("RGBA", frames=1, lossless=True),
        ):
            self.assertStartsWith(self.refused(contents), "photo: animated WebP is not supported")

    def test_too_many_pixels_are_refused_by_the_header(self):
        files, side = samples(), 13_000
        jpeg, gif = files["jpeg_grey"], files["gif"]
        gif_frame = gif.index(b"\x2c" + struct.pack("<HHHH", 0, 0, 40, 30))
        for contents in (
            patched(jpeg, jpeg.index(b"\xff\xc0") + 5, ">HH", side, side),
            patched(files["png"], 16, ">II", side, side),
            patched(patched(gif, 6, "<HH", side, side), gif_frame + 5, "<HH", side, side),
            patched(files["bmp"], 18, "<ii", side, side),
            patched(files["webp"], 24, "<BHBH", (side - 1) & 255, side - 1 >> 8, (side - 1) & 255, side - 1 >> 8),
            patched(files["webp_plain"], 26, "<HH", side, side),
            patched(files["webp_lossless"], 21, "<I", side - 1 | side - 1 << 14),
        ):
            self.assertEqual(
                self.refused(contents), "photo: the image has 13000 x 13000 pixels; from 1 to 134,217,728 are supported"
            )
        self.assertIn("40 x 0 pixels", self.refused(patched(files["png"], 16, ">II", 40, 0)))

    def test_the_first_frame_of_a_gif_has_to_fill_the_screen(self):
        wider = patched(samples()["gif"], 6, "<HH", 41, 30)
        self.assertEqual(
            self.refused(wider), "photo: the first frame of the GIF, 40 x 30, does not fill its screen, 41 x 30"
        )

    def test_later_frames_of_a_gif_are_never_read(self):
        animated = samples()["gif_animated"]
        large = patched(animated, animated.rindex(b"\x2c" + bytes(4)) + 5, "<HH", 65535, 65535)
        self.assertAllEqual(decode(large, 1), decode(animated, 1))
        self.assertAllEqual(decode(animated[: len(animated) * 2 // 3], 1), decode(animated, 1))

    def test_what_is_no_image_is_refused(self):
        for contents in (b"", b"<html>404 Not Found</html>", b"RIFF\4\0\0\0WAVE", encoded(picture(), "TIFF")):
            self.assertStartsWith(self.refused(contents), "photo: this is not a JPEG")


if __name__ == "__main__":
    tf.test.main()
