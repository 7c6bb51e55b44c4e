"""Small images of every format that is decoded, as bytes."""

import io
import struct

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 40, 30


def encoded(image, file_format, **options):
    stream = io.BytesIO()
    image.save(stream, file_format, **options)
    return stream.getvalue()


def picture(seed=0, mode="RGB"):
    """Noise of 40 x 30 pixels."""
    values = np.random.default_rng(seed).integers(0, 256, [HEIGHT, WIDTH, 4], np.uint8)
    return Image.fromarray(values, "RGBA").convert(mode)


def exif(orientation=6, byte_order="<", entries_before=1):
    """An EXIF block whose first directory has the orientation after other entries."""
    mark = b"II*\0" if byte_order == "<" else b"MM\0*"
    others = b"".join(struct.pack(f"{byte_order}HHIHH", 0x0100 + i, 3, 1, 7, 0) for i in range(entries_before))
    entry = struct.pack(f"{byte_order}HHIHH", 0x0112, 3, 1, orientation, 0)
    count = struct.pack(f"{byte_order}H", entries_before + 1)
    return b"Exif\0\0" + mark + struct.pack(f"{byte_order}I", 8) + count + others + entry + bytes(4)


def animated_webp(mode="RGB", frames=2, **options):
    """An animated WebP; Pillow does not write one of a single frame, so others are cut off."""
    more = [picture(seed, mode) for seed in range(1, max(2, frames))]
    contents = encoded(picture(0, mode), "WEBP", save_all=True, append_images=more, **options)
    if frames == 1:
        contents = contents[: contents.rindex(b"ANMF")]
        contents = contents[:4] + struct.pack("<I", len(contents) - 8) + contents[8:]
    return contents


def samples():
    """Bytes by name; the name begins with the format."""
    one, more, grey = picture(), [picture(1), picture(2)], picture(mode="L")
    few_colors = [image.quantize(16) for image in (one, *more)]
    return {
        "jpeg": encoded(one, "JPEG", exif=exif()),
        "jpeg_progressive": encoded(one, "JPEG", progressive=True),
        "jpeg_grey": encoded(grey, "JPEG"),
        "jpeg_cmyk": encoded(one.convert("CMYK"), "JPEG"),
        "jpeg_mpo": encoded(one, "MPO", save_all=True, append_images=more),
        "png": encoded(one, "PNG", exif=exif()[6:]),
        "png_alpha": encoded(picture(mode="RGBA"), "PNG"),
        "png_palette": encoded(few_colors[0], "PNG"),
        "png_1_bit": encoded(one.convert("1"), "PNG"),
        "png_animated": encoded(one, "PNG", save_all=True, append_images=more),
        "gif": encoded(few_colors[0], "GIF"),
        "gif_animated": encoded(few_colors[0], "GIF", save_all=True, append_images=few_colors[1:], loop=0),
        "bmp": encoded(one, "BMP"),
        "bmp_grey": encoded(grey, "BMP"),
        "bmp_alpha": encoded(picture(mode="RGBA"), "BMP"),
        "webp": encoded(one, "WEBP", exif=exif()),
        "webp_plain": encoded(one, "WEBP"),
        "webp_lossless": encoded(one, "WEBP", lossless=True),
        "webp_alpha": encoded(picture(mode="RGBA"), "WEBP"),
        "webp_alpha_lossless": encoded(picture(mode="RGBA"), "WEBP", lossless=True),
        "webp_animated": animated_webp(),
        "webp_animated_lossless": animated_webp(lossless=True),
        "webp_animated_alpha": animated_webp("RGBA", lossless=True),
        "webp_animated_one_frame": animated_webp(frames=1, lossless=True),
    }
