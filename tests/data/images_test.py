import os

import numpy as np
import tensorflow as tf
from PIL import Image

from tests.data.image_samples import encoded
from tf_frozen.data import images
from tf_frozen.data.paths import resolve

TILE = os.path.join(resolve("embedded:neon_trees/val"), "val_0000_0000.jpg")
RED, BLUE = (255, 0, 0), (0, 0, 255)
# EXIF 2.3, tag 0x0112: where the first row and the first column of the stored pixels are on display.
SIDES = {
    1: ("top", "left"),
    2: ("top", "right"),
    3: ("bottom", "right"),
    4: ("bottom", "left"),
    5: ("left", "top"),
    6: ("right", "top"),
    7: ("right", "bottom"),
    8: ("left", "bottom"),
}
MIDDLE_OF = {
    "top": lambda image: image[4, image.shape[1] // 2],
    "bottom": lambda image: image[-5, image.shape[1] // 2],
    "left": lambda image: image[image.shape[0] // 2, 4],
    "right": lambda image: image[image.shape[0] // 2, -5],
}


def marked():
    """48 x 80 px, black, with the first rows red and the first columns blue."""
    pixels = np.zeros([48, 80, 3], np.uint8)
    pixels[:16], pixels[16:, :16] = RED, BLUE
    return Image.fromarray(pixels)


def with_orientation(file_format, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(marked(), file_format, exif=exif, quality=95)


class ImagesTestCase(tf.test.TestCase):
    def saved(self, contents):
        path = os.path.join(self.get_temp_dir(), "image")
        with open(path, "wb") as file:
            file.write(contents)
        return path

    def read(self, contents):
        return images.read(self.saved(contents))


class OrientationTest(ImagesTestCase):
    def test_first_row_and_column_land_where_exif_says(self):
        for file_format in ("JPEG", "PNG", "WEBP"):
            for orientation, (row, column) in SIDES.items():
                image = self.read(with_orientation(file_format, orientation))
                what = f"{file_format} {orientation}"
                self.assertEqual(image.shape, (48, 80, 3) if orientation < 5 else (80, 48, 3), what)
                self.assertAllClose(MIDDLE_OF[row](image), RED, atol=12, msg=what)
                self.assertAllClose(MIDDLE_OF[column](image), BLUE, atol=12, msg=what)

    def test_values_that_make_no_sense_leave_the_image_alone(self):
        for orientation in (0, 9, 1000):
            image = self.read(with_orientation("JPEG", orientation))
            self.assertAllClose(MIDDLE_OF["top"](image), RED, atol=12)

    def test_a_broken_exif_block_is_ignored(self):
        image = self.read(encoded(marked(), "JPEG", exif=b"Exif\x00\x00nonsense", quality=95))

        self.assertAllClose(MIDDLE_OF["top"](image), RED, atol=12)


class ColourTest(ImagesTestCase):
    def test_grey_fills_three_equal_channels(self):
        ramp = np.tile(np.arange(0, 256, 2, dtype=np.uint8), [32, 1])
        expected = np.repeat(ramp[..., None], 3, axis=2)

        self.assertAllEqual(self.read(encoded(Image.fromarray(ramp), "PNG")), expected)
        self.assertAllClose(self.read(encoded(Image.fromarray(ramp), "JPEG", quality=95)), expected, atol=4)

    def test_black_and_white_of_one_bit(self):
        checkers = Image.fromarray(np.indices([8, 8]).sum(0) % 2 == 1)

        self.assertAllEqual(self.read(encoded(checkers, "PNG"))[0, :, 1], [0, 255] * 4)

    def test_alpha_is_dropped_and_colours_stay(self):
        pixels = np.zeros([8, 8, 4], np.uint8)
        pixels[..., :3], pixels[:, 4:, 3] = (10, 200, 30), 255
        for file_format in ("PNG", "WEBP", "BMP"):
            options = {"lossless": True, "exact": True} if file_format == "WEBP" else {}
            image = self.read(encoded(Image.fromarray(pixels), file_format, **options))
            self.assertAllEqual(image, np.full([8, 8, 3], (10, 200, 30)), file_format)

    def test_grey_with_alpha(self):
        pixels = np.full([8, 8, 2], (90, 128), np.uint8)

        self.assertAllEqual(self.read(encoded(Image.fromarray(pixels, "LA"), "PNG")), np.full([8, 8, 3], 90))

    def test_cmyk_inks_become_their_rgb(self):
        inks = [
            ((0, 255, 255, 0), RED),
            ((255, 255, 0, 0), BLUE),
            ((0, 0, 0, 255), (0, 0, 0)),
            ((0,) * 4, (255,) * 3),
        ]
        for ink, colour in inks:
            image = self.read(encoded(Image.new("CMYK", (16, 16), ink), "JPEG", quality=95))
            self.assertAllClose(image, np.full([16, 16, 3], colour), atol=4, msg=str(ink))

    def test_palette_and_transparent_palette(self):
        palette = marked().quantize(4)
        for contents in (
            encoded(palette, "PNG"),
            encoded(palette, "PNG", bits=2),
            encoded(palette, "PNG", transparency=0),
            encoded(palette, "GIF"),
        ):
            self.assertAllEqual(self.read(contents), np.asarray(marked()))

    def test_first_frame_of_an_animation(self):
        second = Image.new("RGB", (80, 48), BLUE)

        self.assertAllEqual(
            self.read(encoded(marked(), "GIF", save_all=True, append_images=[second])), np.asarray(marked())
        )


class DecodeTest(ImagesTestCase):
    def test_a_photograph_looks_as_in_pillow(self):
        with Image.open(TILE) as image:
            expected = np.asarray(image, np.float32)

        self.assertLess(np.abs(images.read(TILE) - expected).mean(), 1.5)

    def test_in_a_tf_data_map_with_an_orientation_of_each_file(self):
        turned = [self.saved(with_orientation("JPEG", 6)), TILE]
        contents = [tf.io.read_file(path) for path in turned]
        dataset = tf.data.Dataset.from_tensor_slices((contents, [6, 1])).map(images.decode)

        first, second = dataset.as_numpy_iterator()

        self.assertEqual(dataset.element_spec.shape.as_list(), [None, None, 3])
        self.assertEqual((first.dtype, first.shape, second.shape), (np.uint8, (80, 48, 3), (345, 416, 3)))
        self.assertAllClose(MIDDLE_OF["right"](first), RED, atol=12)
        self.assertAllEqual(second, images.read(TILE))


if __name__ == "__main__":
    tf.test.main()
