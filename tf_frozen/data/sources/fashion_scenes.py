"""Scenes of several classes: Fashion-MNIST cut-outs (Xiao et al. 2017, arXiv 1708.07747) on crops of photographs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from tf_frozen.data.paths import resolve

_FILE = "embedded:fashion_mnist/cut_outs.npz"
_OBJECT = 8  # a cut-out's pixels above this grey value are the object
_LEAST_VISIBLE = 0.5  # of an object's area; others are taken out again


class CutOuts(NamedTuple):
    """Grey images of single objects on black."""

    images: np.ndarray
    """[n, 28, 28] uint8."""
    classes: np.ndarray
    """[n] int, rows of `names`."""
    names: list[str]


class Scene(NamedTuple):
    """An image and the objects in it, exact to the pixel."""

    image: np.ndarray
    """[h, w, 3] uint8."""
    masks: np.ndarray
    """[n, h, w] bool: the visible pixels of each object."""
    classes: np.ndarray
    """[n] int, rows of `CutOuts.names`."""

    @property
    def boxes(self) -> np.ndarray:
        """The boxes [n, 4] around the visible pixels: x, y, width and height, as in COCO."""
        rows = [[*np.argwhere(mask).min(0), *(np.argwhere(mask).max(0) + 1)] for mask in self.masks]
        y1, x1, y2, x2 = np.reshape(np.asarray(rows, np.int64), [-1, 4]).T
        return np.stack([x1, y1, x2 - x1, y2 - y1], 1)


def cut_outs(half: str) -> CutOuts:
    """The cut-outs of the 'train' half (500 a class) or of the 'test' half (100 a class)."""
    with np.load(resolve(_FILE)) as content:
        names = [str(name) for name in content["class_names"]]
        return CutOuts(content[f"{half}_images"], content[f"{half}_labels"].astype(np.int64), names)


def compose(
    background: np.ndarray,
    objects: CutOuts,
    shares: Sequence[float],
    sides: tuple[float, float],
    most: int,
    seed: Sequence[int],
) -> Scene:
    """Pastes 1 to `most` objects on `background` [h, w, 3] uint8, each tinted and resized; a function of its arguments.

    `shares` are the classes' probabilities, `sides` the least and the largest side of a cut-out in pixels, drawn
    uniformly in the logarithm. A later object covers earlier ones; what is less than half visible is not pasted.
    """
    draw = np.random.default_rng(seed)
    image, owner = background.copy(), np.zeros(background.shape[:2], np.int64)
    classes, areas = [], []
    for _ in range(draw.integers(1, most, endpoint=True)):
        label = draw.choice(len(shares), p=np.asarray(shares) / np.sum(shares))
        grey = _resized(objects.images[draw.choice(np.flatnonzero(objects.classes == label))], sides, draw)
        pasted, claimed = _pasted(image, owner, grey, len(classes) + 1, draw)
        seen = np.bincount(claimed.ravel(), minlength=len(classes) + 2)[1:]
        grown = [*areas, int((grey > _OBJECT).sum())]
        if seen[-1] > 0 and np.all(seen >= _LEAST_VISIBLE * np.asarray(grown)):
            image, owner, areas, classes = pasted, claimed, grown, [*classes, label]
    masks = owner == np.arange(1, len(classes) + 1)[:, np.newaxis, np.newaxis]
    return Scene(image, masks, np.asarray(classes, np.int64))


def _resized(grey: np.ndarray, sides: tuple[float, float], draw: np.random.Generator) -> np.ndarray:
    side = round(float(np.exp(draw.uniform(*np.log(sides)))))
    return np.asarray(Image.fromarray(grey).resize((side, side), Image.Resampling.BILINEAR))


def _pasted(image: np.ndarray, owner: np.ndarray, grey: np.ndarray, number: int, draw: np.random.Generator) -> tuple:
    """The image and the owners of its pixels, with an object at a random place inside, in a random tint."""
    sizes = list(zip(owner.shape, grey.shape, strict=True))
    corner = [draw.integers(0, max(whole - part, 0), endpoint=True) for whole, part in sizes]
    rows, columns = (slice(start, start + part) for start, (_, part) in zip(corner, sizes, strict=True))
    image, owner = image.copy(), owner.copy()
    grey = grey[: owner[rows, columns].shape[0], : owner[rows, columns].shape[1]]
    tinted = grey[..., np.newaxis] * draw.uniform(0.35, 1.0, 3)
    inside = grey > _OBJECT
    image[rows, columns][inside] = tinted[inside].astype(np.uint8)
    owner[rows, columns][inside] = number
    return image, owner
