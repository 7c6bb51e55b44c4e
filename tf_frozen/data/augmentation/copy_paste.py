"""Objects of one image pasted on another (Ghiasi et al. 2021, "Simple Copy-Paste", arXiv 2012.07177)."""

from __future__ import annotations

import gin
import tensorflow as tf

from tf_frozen.config.checked import Checked
from tf_frozen.config.ranges import Fraction, NonNegativeFloat
from tf_frozen.data.augmentation.objects import Objects
from tf_frozen.errors import ConfigError
from tf_frozen.geometry import masks as mask_ops


@gin.configurable
class CopyPaste(Checked):
    """Pastes a random subset of another image's objects by their masks, unblended, and cuts what they hide.

    The size of the subset, from none to all, is drawn uniformly, then its members. Objects under pasted pixels are
    removed if only `min_area` pixels or fewer stay visible. The others lose the hidden part of their masks, and a side
    of their box moves to the visible part if it is more than `box_tolerance` pixels away. No other object changes,
    however small. The defaults are the authors' released thresholds.
    """

    def __init__(
        self,
        probability: Fraction = 1.0,
        min_area: NonNegativeFloat = 300,
        box_tolerance: NonNegativeFloat = 10,
        keep_masks: bool = True,
    ):
        """Raises ConfigError for an impossible argument.

        Args:
          probability: of pasting at all; otherwise the image stays as it is.
          min_area: square pixels of the frame.
          box_tolerance: pixels of the frame.
          keep_masks: False leaves masks out of the result, where a detector learns boxes alone.
        """
        self.probability, self.min_area, self.box_tolerance = probability, min_area, box_tolerance
        self.keep_masks = keep_masks

    def __call__(
        self, image: tf.Tensor, objects: Objects, other_image: tf.Tensor, other_objects: Objects, seed: tf.Tensor
    ) -> tuple[tf.Tensor, Objects]:
        """Mixes two images [H, W, 3] of one frame, each with its objects; `seed` [2] decides what is pasted.

        What stays of the image's own objects comes first, then what was pasted. Raises ConfigError without masks.
        """
        if "masks" not in objects or "masks" not in other_objects:
            raise ConfigError("CopyPaste needs masks, and the objects have none. Read them: CocoJson.masks = True.")
        size = tuple(image.shape[:2])
        pasted = _rows(other_objects, self._choose(tf.shape(other_objects["boxes"])[0], seed))
        cover = _union(pasted, size)
        # An object that covers no pixel centre cannot be detected.
        pasted = _rows(pasted, tf.reduce_any(_on(cover, pasted) & (pasted["masks"] > 0), [1, 2]))
        left = self._left(objects, cover)
        mixed = {name: tf.concat([left[name], pasted[name]], axis=0) for name in left}
        if not self.keep_masks:
            del mixed["masks"]
        return tf.where(cover[..., tf.newaxis], other_image, image), mixed

    def _choose(self, count: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Draws the objects to paste, bool [count]."""
        happens, share = tf.unstack(tf.random.stateless_uniform([2], seed))
        draws = tf.random.stateless_uniform([count], tf.random.experimental.stateless_fold_in(seed, 1))
        return (happens < self.probability) & (draws < share)

    def _left(self, objects: Objects, cover: tf.Tensor) -> Objects:
        """Removes the covered pixels, bool [H, W], from the objects [n]."""
        boxes, masks = objects["boxes"], objects["masks"]
        hidden, area, tight = _visible(objects, cover)
        hidden |= tf.reduce_any(_on(cover, objects) & (masks > 0), [1, 2])  # those without the centre of a pixel too
        moves = hidden[:, tf.newaxis] & (tf.abs(tight - boxes) > self.box_tolerance)
        moved = {**objects, "boxes": tf.where(moves, tight, boxes)}
        cut = (mask_ops.crop(masks, boxes, moved["boxes"], masks.shape[-1]) > 0.5) & ~_on(cover, moved)
        moved["masks"] = tf.where(hidden[:, tf.newaxis, tf.newaxis], tf.cast(cut, tf.uint8), masks)
        enough = (area > self.min_area) & tf.reduce_any(cut, [1, 2])
        return _rows(moved, ~hidden | enough)


def _rows(objects: Objects, keep: tf.Tensor) -> Objects:
    return {name: tf.boolean_mask(rows, keep) for name, rows in objects.items()}


def _union(objects: Objects, size: tuple[int, int]) -> tf.Tensor:
    """The pixels of any of the objects, bool [H, W]; one object's at a time are in memory."""
    return tf.foldl(
        lambda cover, one: cover | mask_ops.paste(*one, size),
        (objects["masks"], objects["boxes"]),
        initializer=tf.zeros(size, tf.bool),
    )


def _visible(objects: Objects, cover: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """If pixels of an object are covered [n], and of the others their number [n] and box [n, 4]; one at a time."""

    def of_one(one: tuple[tf.Tensor, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        shown = mask_ops.paste(*one, tuple(cover.shape))
        seen = shown & ~cover
        near, far = zip(*(_extent(tf.reduce_any(seen, 1 - axis)) for axis in (0, 1)), strict=True)
        area = tf.math.count_nonzero(seen, dtype=tf.float32)
        return tf.reduce_any(shown & cover), area, tf.cast(tf.stack([*near, *far]), tf.float32)

    signature = (tf.TensorSpec([], tf.bool), tf.TensorSpec([]), tf.TensorSpec([4]))
    return tf.map_fn(of_one, (objects["masks"], objects["boxes"]), fn_output_signature=signature)


def _extent(marks: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The first mark of [n] and the place after the last; all of it where there is none."""
    marks = tf.cast(marks, tf.int32)
    return tf.argmax(marks), marks.shape[0] - tf.argmax(tf.reverse(marks, [0]))


def _on(pixels: tf.Tensor, objects: Objects) -> tf.Tensor:
    """Reads the pixels, bool [H, W], at the centres of the cells of the objects' masks: [n, S, S]."""
    boxes, side = objects["boxes"], objects["masks"].shape[-1]
    fraction = (tf.range(side, dtype=tf.float32) + 0.5) / side
    places = boxes[:, :2, tf.newaxis] + (boxes[:, 2:] - boxes[:, :2])[..., tf.newaxis] * fraction
    limit = tf.constant([[pixels.shape[0] - 1], [pixels.shape[1] - 1]])
    rows, columns = tf.unstack(tf.clip_by_value(tf.cast(tf.floor(places), tf.int32), 0, limit), axis=1)
    return tf.gather(tf.gather(pixels, rows), columns, axis=2, batch_dims=1)
