"""One picture of three shapes, each with its own class, colour and polygons."""

import dataclasses
import os

import numpy as np
from PIL import Image, ImageDraw

from tf_frozen.data.category import Category
from tf_frozen.data.example import Example
from tf_frozen.data.sources.image_files import ImageFiles

HEIGHT, WIDTH = 120, 160
# Corners (x, y), none of them symmetric, so that a wrong flip or turn shows; each has its own colour.
SHAPES = (
    [(10, 10), (70, 20), (30, 50)],
    [(90, 15), (150, 15), (150, 35), (110, 35), (110, 60), (90, 60)],
    [(20, 70), (60, 65), (75, 110), (40, 90)],
)
FINER = 8  # the factor by which they are drawn finer, as Pillow's polygons hold the pixels of their outline too
BACKGROUND, COLORS = (0, 0, 0), ((255, 0, 0), (0, 255, 0), (0, 0, 255))
CATEGORIES = [Category(4, "red"), Category(5, "green"), Category(9, "blue")]


def source(folder, crowd=(False, False, False), copies=({},)):
    """The picture, drawn to `folder`, and its three objects: an example for each of `copies`, what differs in it."""
    picture = Image.new("RGB", (WIDTH * FINER, HEIGHT * FINER), BACKGROUND)
    boxes = []
    for corners, color in zip(SHAPES, COLORS, strict=True):
        ImageDraw.Draw(picture).polygon([(x * FINER, y * FINER) for x, y in corners], fill=color)
        x, y = np.transpose(corners)
        boxes.append([y.min(), x.min(), y.max(), x.max()])
    path = os.path.join(folder, "shapes.png")
    picture.resize((WIDTH, HEIGHT), Image.Resampling.BOX).save(path)
    polygons = [[[float(v) for corner in corners for v in corner]] for corners in SHAPES]
    example = Example(0, HEIGHT, WIDTH, boxes, [1, 2, 3], crowd, segmentations=polygons)
    examples = [dataclasses.replace(example, **changes) for changes in copies]
    return ImageFiles(examples, CATEGORIES, [path] * len(examples))
