"""Batches of images and targets from examples; a training batch depends on the seed and its step alone."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import os
from collections.abc import Callable, Sequence

import gin
import numpy as np
import tensorflow as tf

from tf_frozen.config.checked import Checked
from tf_frozen.config.ranges import Frame, PositiveInt, Seed
from tf_frozen.data.augmentation.objects import Objects
from tf_frozen.data.example import Example
from tf_frozen.data.image_header import require, times
from tf_frozen.data.images import decode
from tf_frozen.data.resize import fit
from tf_frozen.data.samplers.shuffled_epochs import ShuffledEpochs
from tf_frozen.data.sampling import Sampler
from tf_frozen.data.segmentations import box_mask
from tf_frozen.data.source import DataSource
from tf_frozen.errors import ConfigError
from tf_frozen.graph_function import GraphFunction

READ = "read_of_data_source"  # in the names of the operations that read images, which errors of TensorFlow state


@gin.configurable
class TrainBatches(Checked):
    """Shuffled, augmented batches (images, targets); step s holds the same images in every run of a seed.

    images: float32 [B, H, W, 3], RGB in 0…255. targets: boxes [B, N, 4] float32 in frame pixels, classes [B, N] int32
    (0 is padding), image_index [B] int64 into the examples, image_size [B, 2] and scale [B] float32; where examples
    have segmentations, masks [B, N, S, S] uint8 too, which fill the boxes, 1 inside the object, S = `mask_size`. N is
    the largest number of boxes in an image: none is ever cut. `placement` puts the augmented image into (H, W) =
    `crop`, the frame itself if None and never more; a crop smaller than the frame saves time and keeps objects' size.
    With `fixed_copies` C, epochs show C augmented copies of each image in turn, each epoch in another order. `sampler`,
    called with the examples and the seed, returns the Sampler that decides the order of the images.

    `mix` (image, objects, another's image, its objects, seed) → (image, objects) adds to each image objects of another
    one, chosen at random and augmented and placed independently. Examples need masks; N is twice as large; image_size
    grows until it holds every box, as heads clip theirs to it; scale stays that of the image.
    """

    def __init__(
        self,
        source: DataSource,
        frame: Frame,
        batch_size: PositiveInt,
        seed: Seed = 0,
        crop: Frame | None = None,
        augmentation: Sequence[Callable] = (),
        placement: Callable | None = None,
        mask_size: PositiveInt = 112,
        fixed_copies: PositiveInt | None = None,
        mix: Callable | None = None,
        sampler: Callable[[Sequence[Example], int], Sampler] = ShuffledEpochs,
    ):
        self.source, self.batch_size, self.seed = source, batch_size, seed
        self.frame, self.crop = tuple(frame), tuple(map(min, crop or frame, frame))
        self.augmentation, self.placement = tuple(augmentation), placement or _plain_placement
        self.mask_size, self.fixed_copies, self.mix = mask_size, fixed_copies, mix
        self.sampler = sampler(source.examples, seed)

    def image_ids(self, step: int) -> list:
        """The image ids of the batch that `step`, counted from 0, trains on."""
        positions = range(step * self.batch_size, (step + 1) * self.batch_size)
        return [self.source.examples[int(self.sampler.place(tf.constant(p, tf.int64))[1])].image_id for p in positions]

    def dataset(self, first_step: int, last_step: int) -> tf.data.Dataset:
        """The batches of steps `first_step` to `last_step` − 1."""
        positions = tf.data.Dataset.range(first_step * self.batch_size, last_step * self.batch_size)
        return _batched(positions.map(self._example, tf.data.AUTOTUNE), self.batch_size, drop_remainder=True)

    def copies(self, rows: Sequence[int], batch_size: int) -> tf.data.Dataset:
        """Batches of augmented copies; the last may be short. Row c · examples + i is example i as epoch c shows it."""
        columns, count = self._columns(), len(self.source.examples)
        rows = tf.data.Dataset.from_tensor_slices(tf.constant(list(rows), tf.int64))
        examples = rows.map(lambda row: self._copy(columns, row // count, row % count), tf.data.AUTOTUNE)
        return _batched(examples, batch_size, drop_remainder=False)

    def rows(self, first_step: int, last_step: int) -> tf.data.Dataset:
        """For each step the epochs [B] of its examples, and their rows [B] in `copies`."""

        def row(position: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            epoch, index = self.sampler.place(position)
            return epoch, self._copy_of(epoch) * len(self.source.examples) + index

        positions = tf.data.Dataset.range(first_step * self.batch_size, last_step * self.batch_size)
        return positions.map(row).batch(self.batch_size, drop_remainder=True)

    def _columns(self) -> dict:
        examples = [_without_crowds(example) for example in self.source.examples]
        columns = _columns(self.source, examples, self.mask_size)
        if self.mix and not columns["masks"]:
            raise ConfigError("TrainBatches.mix needs masks, and the data has none. Read them: CocoJson.masks = True.")
        return {**columns, "most_boxes": 2 * columns["most_boxes"]} if self.mix else columns

    def _copy_of(self, epoch: tf.Tensor) -> tf.Tensor:
        return epoch if self.fixed_copies is None else self.sampler.copy(epoch, self.fixed_copies)

    @functools.cached_property
    def _example(self) -> GraphFunction:
        """The example at a position in training, traced once for all the datasets that a run makes."""
        columns = self._columns()

        def example(position: tf.Tensor) -> tuple[tf.Tensor, dict]:
            epoch, index = self.sampler.place(position)
            return self._copy(columns, self._copy_of(epoch), index)

        return GraphFunction(example)

    def _copy(self, columns: dict, copy: tf.Tensor, index: tf.Tensor) -> tuple[tf.Tensor, dict]:
        """The example of that index as the epoch numbered `copy` shows it."""
        seed = tf.stack([tf.constant(self.seed, tf.int64), copy])
        seed = tf.random.experimental.stateless_fold_in(seed, index)
        image, objects, size, scale = self._augmented(columns, index, seed)
        if self.mix:
            image, objects = self._mixed(columns, image, objects, tf.random.experimental.stateless_fold_in(seed, 0))
            size = tf.maximum(size, tf.reduce_max(objects["boxes"][:, 2:], 0))
        return _element(columns, image, objects, index, size, scale)

    def _augmented(self, columns: dict, index: tf.Tensor, seed: tf.Tensor) -> tuple:
        """Image, objects, image_size and scale of an example, placed in the frame."""
        image, objects = _read(columns, index)
        for number, operation in enumerate(self.augmentation, start=1):
            image, objects = operation(image, objects, tf.random.experimental.stateless_fold_in(seed, number))
        image, objects, stay, size, scale = self.placement(image, objects, self.frame, self.crop, seed)
        return image, {name: tf.boolean_mask(rows, stay) for name, rows in objects.items()}, size, scale

    def _mixed(self, columns: dict, image: tf.Tensor, objects: Objects, seed: tf.Tensor) -> tuple[tf.Tensor, Objects]:
        fold = tf.random.experimental.stateless_fold_in
        other = tf.random.stateless_uniform([], seed, 0, len(self.source.examples), tf.int64)
        other_image, other_objects, _, _ = self._augmented(columns, other, fold(seed, 1))
        return self.mix(image, objects, other_image, other_objects, fold(seed, 2))


def eval_batches(source: DataSource, frame: tuple[int, int] | None, batch_size: int) -> tf.data.Dataset:
    """Each example once, in order, fitted into the frame; the last batch may be short.

    Elements are like TrainBatches', and their targets have original_size [B, 2] float32, the image's own. Where `frame`
    is None, images [1, h, w, 3] uint8 are whole, one a batch, and at most two are in memory.
    """
    columns = _columns(source, source.examples)

    def element(index: tf.Tensor) -> tuple[tf.Tensor, dict]:
        image, objects = _read(columns, index)
        original_size = tf.cast(tf.shape(image)[:2], tf.float32)
        framed, size, scale = (image, original_size, 1.0) if frame is None else fit(image, tuple(frame))
        objects = {**objects, "boxes": objects["boxes"] * scale}
        framed, targets = _element(columns, framed, objects, index, size, scale)
        return framed, {**targets, "original_size": original_size}

    indices = tf.data.Dataset.range(len(source.examples))
    if frame is None:
        return indices.map(GraphFunction(element)).batch(1).prefetch(1)
    return _batched(indices.map(GraphFunction(element), tf.data.AUTOTUNE), batch_size, False)


def _plain_placement(image: tf.Tensor, objects: Objects, frame, crop, seed) -> tuple:
    del frame, seed  # nothing is random, and there is nothing to crop
    framed, size, scale = fit(image, crop)
    boxes = objects["boxes"] * scale
    return framed, {**objects, "boxes": boxes}, tf.ones(tf.shape(boxes)[:1], tf.bool), size, scale


def _without_crowds(example: Example) -> Example:
    keep, segmentations = ~example.crowd, example.segmentations
    return dataclasses.replace(
        example,
        boxes=example.boxes[keep],
        classes=example.classes[keep],
        crowd=example.crowd[keep],
        segmentations=segmentations and list(itertools.compress(segmentations, keep)),
    )


def _columns(source: DataSource, examples: Sequence[Example], mask_size: PositiveInt | None = None) -> dict:
    """The examples as tensors, boxes and classes ragged, so that a graph can index them; what reads and decodes."""
    counts = [len(example.boxes) for example in examples]
    boxes = np.concatenate([np.reshape(example.boxes, [-1, 4]) for example in examples]).astype(np.float32)
    classes = np.concatenate([example.classes for example in examples]).astype(np.int32)
    return {
        "read": source.read,
        "where": tf.constant([os.fsencode(source.describe(index)) for index in range(len(examples))], tf.string),
        "orientation": tf.constant([example.orientation for example in examples], tf.int32),
        "size": tf.constant([(example.height, example.width) for example in examples], tf.int32, [len(examples), 2]),
        "boxes": tf.RaggedTensor.from_row_lengths(boxes, counts),
        "classes": tf.RaggedTensor.from_row_lengths(classes, counts),
        "most_boxes": max(1, *counts) if counts else 1,
        "masks": _mask_decoder(examples, mask_size) if mask_size and _have_masks(examples) else None,
    }


def _have_masks(examples: Sequence[Example]) -> bool:
    return any(example.segmentations is not None for example in examples)


def _mask_decoder(examples: Sequence[Example], side: int) -> Callable[[tf.Tensor], tf.Tensor]:
    """Gives the masks [n, side, side] uint8 of an example by its index, decoded when they are asked for."""

    def decode_all(index: np.ndarray) -> np.ndarray:
        example = examples[int(index)]
        size = (example.height, example.width, side)
        objects = zip(example.segmentations, example.boxes, strict=True)
        masks = [box_mask(segmentation, box, *size) for segmentation, box in objects]
        return np.reshape(np.asarray(masks, np.uint8), [-1, side, side])

    return lambda index: tf.ensure_shape(tf.numpy_function(decode_all, [index], tf.uint8), [None, side, side])


def _read(columns: dict, index: tf.Tensor) -> tuple[tf.Tensor, Objects]:
    where = columns["where"][index] + ": "
    with tf.name_scope(READ):
        contents = columns["read"](index)
    image = decode(contents, columns["orientation"][index], where)
    size, expected = tf.shape(image)[:2], columns["size"][index]
    changed = [where, "the image has ", times(size), " pixels, but had ", times(expected), " when it was checked"]
    image = require(tf.reduce_all(size == expected), changed, image)
    objects = {"boxes": columns["boxes"][index], "classes": columns["classes"][index]}
    return image, {**objects, "masks": columns["masks"](index)} if columns["masks"] else objects


def _element(columns: dict, image, objects: Objects, index, size, scale) -> tuple[tf.Tensor, dict]:
    return image, {
        **{name: _padded(rows, columns["most_boxes"]) for name, rows in objects.items()},
        "image_index": index,
        "image_size": size,
        "scale": scale,
    }


def _padded(rows: tf.Tensor, most: int) -> tf.Tensor:
    """Pads to `most` rows with zeros."""
    padding = [[0, most - tf.shape(rows)[0]], *[[0, 0]] * (rows.shape.rank - 1)]
    return tf.ensure_shape(tf.pad(rows, padding), [most, *rows.shape[1:]])


def _batched(examples: tf.data.Dataset, batch_size: int, drop_remainder: bool) -> tf.data.Dataset:
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return examples.batch(batch_size, drop_remainder=drop_remainder).prefetch(tf.data.AUTOTUNE).with_options(options)
