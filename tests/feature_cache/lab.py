"""A small detector, its augmented training images, and losses of training on them, from images or from a cache."""

import dataclasses
import functools
import json
import sys

import tensorflow as tf

from tests.evaluation.mask_scores_test import ellipse
from tf_frozen.backbones.efficientnet_lite import EfficientNetLite
from tf_frozen.data.augmentation.color_jitter import ColorJitter
from tf_frozen.data.augmentation.copy_paste import CopyPaste
from tf_frozen.data.augmentation.quarter_turns import QuarterTurns
from tf_frozen.data.augmentation.scale_jitter import ScaleJitter
from tf_frozen.data.pipeline import TrainBatches
from tf_frozen.data.sources.coco_json import CocoJson
from tf_frozen.data.sources.image_files import ImageFiles
from tf_frozen.data.subset import Subset
from tf_frozen.detectors.single_stage import SingleStage
from tf_frozen.feature_cache.build import FeatureCache
from tf_frozen.feature_cache.cached_batches import CachedBatches
from tf_frozen.feature_cache.reader import CacheReader
from tf_frozen.heads.dense_head import DenseHead
from tf_frozen.keras_flavor import keras
from tf_frozen.necks.fpn import FPN

SIZE, IMAGES, COPIES = 96, 6, 2


@functools.cache
def source():
    """Six of the embedded photographs."""
    data = CocoJson("embedded:neon_trees/train.json", "embedded:neon_trees/train", check="header")
    return ImageFiles(data.examples[:IMAGES], data.categories, data.paths[:IMAGES])


def batches(batch_size=4, maximum=1.3, fixed_copies=None, images=IMAGES, **options):
    """Their training batches, augmented as the quickstart does it."""
    augmentation = (QuarterTurns(), ColorJitter())
    options = {"seed": 3, "crop": (SIZE, SIZE), **options}
    placement = ScaleJitter(0.65, maximum, 0.3)
    return TrainBatches(
        Subset(source(), range(images)), (SIZE, SIZE), batch_size, augmentation=augmentation, placement=placement,
        fixed_copies=fixed_copies, **options,
    )  # fmt: skip


def copy_pasted(fixed_copies=None, probability=1.0):
    """The photographs under Copy-Paste and large scale jittering, each tree with the ellipse in its box for a mask."""
    masked = []
    for example in source().examples:
        boxes = [(x1, y1, x2 - x1, y2 - y1) for y1, x1, y2, x2 in example.boxes.tolist()]
        masked.append(dataclasses.replace(example, segmentations=[ellipse(*box) for box in boxes]))
    data = ImageFiles(masked, source().categories, source().paths)
    return TrainBatches(
        data, (SIZE, SIZE), 4, seed=3, augmentation=(QuarterTurns(turns=False),), placement=ScaleJitter(),
        mask_size=28, fixed_copies=fixed_copies, mix=CopyPaste(probability, min_area=4),
    )  # fmt: skip


def detector(mode="frozen", levels=(3, 4), min_level=3):
    """A RetinaNet of eight filters on the first stages of EfficientNet-Lite0."""
    keras.utils.set_random_seed(5)
    head = DenseHead(num_classes=1, convs=1, filters=8)
    model = SingleStage(
        EfficientNetLite(levels=levels, mode=mode), FPN(filters=8, min_level=min_level, max_level=4), head, (SIZE, SIZE)
    )
    model.compile(keras.optimizers.SGD(0.01))
    return model


def losses(model, data, steps, eager=False, rate=0.01):
    """The loss of each step; a model that was compiled for it keeps what it has traced."""
    if model.run_eagerly != eager:
        model.compile(keras.optimizers.SGD(), run_eagerly=eager)
    model.optimizer.iterations.assign(0)
    model.optimizer.learning_rate.assign(rate)
    found = []
    note = keras.callbacks.LambdaCallback(on_batch_end=lambda _, logs: found.append(logs["loss"]))
    model.fit(data.dataset(0, steps), callbacks=[note], verbose=0)
    return found


def cached(folder, model, workers=2, **options):
    """Batches from the cache in a folder."""
    source = batches(**options)
    return CachedBatches(source, CacheReader(folder, source, model), workers=workers)


def two_replicas(folder):
    """Prints the losses on two replicas: from images, and from a cache by one and two readers."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])

    with strategy.scope():
        model = detector()
    weights = model.get_weights()

    def run(data):
        model.set_weights(weights)
        with strategy.scope():
            return losses(model, data, 6)

    for dtype in ("float32", "float16"):
        FeatureCache(COPIES, dtype).build(batches(), model, f"{folder}/{dtype}")
    found = {"images": run(batches(fixed_copies=COPIES))}
    for dtype, workers in (("float32", 1), ("float32", 2), ("float16", 2)):
        found[f"{dtype}, {workers}"] = run(cached(f"{folder}/{dtype}", model, workers))
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    two_replicas(sys.argv[1])
