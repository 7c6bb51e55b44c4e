import collections
import functools
import json
import logging
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from unittest import mock

import gin
import numpy as np
import pytest
import tensorflow as tf

from tests.feature_cache import lab
from tf_frozen.data.augmentation.quarter_turns import QuarterTurns
from tf_frozen.data.sources.image_files import ImageFiles
from tf_frozen.errors import ConfigError, RunError
from tf_frozen.feature_cache import reader as reading
from tf_frozen.feature_cache.build import MARGIN, FeatureCache
from tf_frozen.feature_cache.cached_batches import CachedBatches
from tf_frozen.feature_cache.channel_brightness import ChannelBrightness
from tf_frozen.feature_cache.key import differences, key
from tf_frozen.feature_cache.manifest import Manifest
from tf_frozen.feature_cache.reader import CacheReader
from tf_frozen.keras_flavor import keras
from tf_frozen.progress import Counter

ROOT = pathlib.Path(__file__).resolve().parents[2]
STEPS = 6  # four epochs of six images, two copies of each


@gin.configurable
def random_grey(image, objects, seed, probability=0.5):
    """An augmentation of a user."""
    del seed, probability
    return image, objects


class OtherTurns(QuarterTurns):
    """A user's own."""


class Table:
    """An augmentation that holds an array of more values than NumPy prints."""

    def __init__(self, middle):
        self.values = np.zeros([2000], np.float32)
        self.values[1000] = middle


class FeatureCacheTest(tf.test.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = lab.detector()
        cls.weights = cls.model.get_weights()
        cls.built = os.path.join(cls.enterClassContext(tempfile.TemporaryDirectory()), "cache")
        cls.build(cls.built)

    def setUp(self):
        super().setUp()
        self.folder = os.path.join(self.enter_context(tempfile.TemporaryDirectory()), "cache")

    @classmethod
    def build(cls, folder, cache=None, **options):
        cache = cache or FeatureCache(lab.COPIES, "float32", shard_bytes=300_000)
        return cache.build(lab.batches(**options), cls.model, folder)

    def copy_built(self):
        """Copies to `folder` the cache that `build` makes."""
        shutil.copytree(self.built, self.folder)

    def cached(self, **options):
        return lab.cached(self.folder, self.model, **options)

    def losses(self, data, steps=STEPS, eager=False):
        self.model.set_weights(self.weights)
        return lab.losses(self.model, data, steps, eager)

    def check_batches(self, data, images, model):
        """The features are those that the model computes of the images in a graph, to the bit; so are the targets."""
        computed = tf.function(model.features, autograph=False)
        for (features, found), (frames, expected) in zip(data.dataset(1, 5), images.dataset(1, 5), strict=True):
            maps = computed(frames).maps
            self.assertEqual(features.frame, tuple(frames.shape[1:3]))
            self.assertEqual(set(found), set(expected))
            for name, value in expected.items():
                self.assertAllEqual(found[name], value, name)
            for level, cached in features.maps.items():
                self.assertAllEqual(cached, maps[level])

    def shards(self, folder=None):
        return {path.name: path.read_bytes() for path in pathlib.Path(folder or self.folder).glob("features-*")}

    @pytest.mark.slow
    def test_losses_are_those_of_training_on_the_images(self):
        expected = self.losses(lab.batches(fixed_copies=lab.COPIES))
        self.assertLen(set(expected), STEPS)
        for dtype, compression in (("float32", "none"), ("float16", "zstd"), ("bfloat16", "none")):
            with self.subTest(dtype):
                folder = f"{self.folder}_{dtype}"
                self.build(folder, FeatureCache(lab.COPIES, dtype, compression))
                for workers in (1, 2):
                    found = self.losses(lab.cached(folder, self.model, workers))
                    if dtype == "float32":
                        self.assertEqual(found, expected)
                    self.assertAllClose(found, expected, rtol=1e-3, atol=0)
        # Eager convolutions are not fused with what follows, so they round in another way.
        data = lab.batches(fixed_copies=lab.COPIES), lab.cached(f"{self.folder}_float32", self.model)
        expected, found = (self.losses(each, 3, eager=True) for each in data)
        self.assertAllClose(found, expected, rtol=1e-5, atol=0)

    @pytest.mark.slow
    def test_copy_paste_and_large_scale_jittering_lie_in_the_copies(self):
        images, plain = (lab.copy_pasted(lab.COPIES, probability) for probability in (1.0, 0.0))
        expected = self.losses(images)
        self.assertNotAllClose(expected, self.losses(plain), rtol=1e-2)
        for dtype in ("float16", "float32"):
            folder = f"{self.folder}_{dtype}"
            FeatureCache(lab.COPIES, dtype).build(lab.copy_pasted(), self.model, folder)
            source = lab.copy_pasted()
            data = CachedBatches(source, CacheReader(folder, source, self.model))
            self.assertAllClose(self.losses(data), expected, rtol=1e-3, atol=0)
        self.assertEqual(self.losses(data), expected)
        self.check_batches(data, images, self.model)
        for (_, targets), (_, others) in zip(images.dataset(0, 1), plain.dataset(0, 1), strict=True):
            self.assertGreater(np.count_nonzero(targets["masks"]), 0)
            self.assertGreater(np.count_nonzero(targets["classes"]), np.count_nonzero(others["classes"]))
        with self.assertRaisesRegex(RunError, "CopyPaste.probability: 1.0 in the cache, 0.5 here"):
            CacheReader(folder, lab.copy_pasted(probability=0.5), self.model)

    def test_holds_the_levels_that_the_neck_reads_and_no_others(self):
        model = lab.detector(levels=(2, 3, 4))
        FeatureCache(lab.COPIES, "float32").build(lab.batches(), model, self.folder)
        data = lab.cached(self.folder, model)
        features, _ = next(iter(data.dataset(0, 1)))
        self.assertEqual(list(features.maps), ["3", "4"])
        self.check_batches(data, lab.batches(fixed_copies=lab.COPIES), model)
        with self.assertRaisesRegex(RunError, "levels that the neck reads: .*'3': .* in the cache, .*'2': .* here"):
            lab.cached(self.folder, lab.detector(levels=(2, 3, 4), min_level=2))

    def test_gives_the_targets_and_the_order_of_the_images_batches(self):
        self.copy_built()
        cached, images = self.cached(), lab.batches(fixed_copies=lab.COPIES)
        self.check_batches(cached, images, self.model)
        self.assertEqual(cached.image_ids(3), images.image_ids(3))

    def test_epochs_repeat_the_fixed_copies_in_orders_of_their_own(self):
        seen = collections.defaultdict(set)
        orders = []
        for images, targets in lab.batches(6, fixed_copies=2).dataset(0, 6):
            orders.append(tuple(targets["image_index"].numpy()))
            for index, image in zip(orders[-1], images.numpy(), strict=True):
                seen[index].add(image.tobytes())
        self.assertLen(set(orders), 6)
        self.assertEqual([len(copies) for copies in seen.values()], [2] * 6)
        with self.assertRaisesRegex(ConfigError, "fixed_copies is 0"):
            lab.batches(fixed_copies=0)

    def test_the_estimate_is_what_is_written(self):
        cache = FeatureCache(lab.COPIES)
        # Every box of the photographs fits the frame.
        source = lab.batches()
        source.placement, source.augmentation = lab.TrainBatches(source.source, (96, 96), 1).placement, ()
        estimate = cache.estimate(source, self.model, self.folder)
        self.assertFalse(os.path.exists(self.folder))
        cache.build(source, self.model, self.folder)
        written = sum(map(len, self.shards().values()))
        self.assertBetween(estimate.bytes / written, 0.99, 1.01)
        self.assertEqual((estimate.images, estimate.copies), (lab.IMAGES, lab.COPIES))

    def test_a_disk_that_it_would_fill_is_refused(self):
        usage = collections.namedtuple("usage", "total used free")
        before = shutil.disk_usage
        self.addCleanup(setattr, shutil, "disk_usage", before)
        shutil.disk_usage = lambda path: usage(10**12, 0, MARGIN + 1000)
        with self.assertRaisesRegex(RunError, "only 1.00 GB are.*FeatureCache.copies"):
            self.build(self.folder)
        self.assertFalse(os.path.exists(self.folder))

    def test_damaged_and_missing_shards_are_written_again_and_no_others(self):
        self.assertTrue(self.build(self.folder))
        whole = self.shards()
        self.assertGreater(len(whole), 2)
        names = sorted(whole)
        first, last = (pathlib.Path(self.folder, name) for name in (names[0], names[-1]))
        content = bytearray(whole[names[0]])
        content[len(content) // 2] ^= 1
        first.write_bytes(content)
        last.unlink()
        untouched = pathlib.Path(self.folder, names[1]).stat().st_mtime_ns
        with self.assertLogs("tf_frozen", logging.WARNING) as log:
            self.assertTrue(self.build(self.folder))
        self.assertRegex("\n".join(log.output), f"(?s){names[0]}.*{names[-1]}")
        self.assertEqual(self.shards(), whole)
        self.assertEqual(pathlib.Path(self.folder, names[1]).stat().st_mtime_ns, untouched)
        self.assertFalse(self.build(self.folder))

    def test_a_stale_cache_is_refused_with_each_difference(self):
        self.copy_built()
        for options, line in (
            ({"maximum": 1.5}, "ScaleJitter.maximum: 1.3 in the cache, 1.5 here"),
            ({"seed": 4}, "TrainBatches.seed: 3 in the cache, 4 here"),
            ({"crop": (64, 64)}, r"TrainBatches.crop: \[96, 96\] in the cache, \[64, 64\] here"),
            ({"images": 5}, "number of images: 6 in the cache, 5 here"),
        ):
            with self.assertRaisesRegex(RunError, line):
                self.cached(**options)
            with self.assertRaisesRegex(RunError, line):
                self.build(self.folder, **options)
        with self.assertRaisesRegex(RunError, "FeatureCache.dtype: 'float32' in the cache, 'float16' here"):
            self.build(self.folder, FeatureCache(lab.COPIES))
        with self.assertRaisesRegex(RunError, "backbone's weights: .*… in the cache, .*… here\n.*source: Eff.*random"):
            lab.cached(self.folder, lab.detector("frozen_random"))
        with self.assertRaisesRegex(ConfigError, "fixed_copies is 3, but the feature cache has 2"):
            self.cached(fixed_copies=3)
        self.cached(batch_size=2, fixed_copies=2)

    def test_what_is_wrong_with_the_files_is_said_with_their_names(self):
        with self.assertRaisesRegex(RunError, "holds no feature cache.*tf-frozen cache"):
            self.cached()
        self.copy_built()
        name = sorted(self.shards())[0]
        path = pathlib.Path(self.folder, name)
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
        data = self.cached()
        with self.assertRaises(tf.errors.OpError):
            list(data.dataset(0, STEPS))
        self.assertRegex(str(data.failure), f"{name} is damaged.*tf-frozen cache")
        path.write_bytes(content[:-1])
        with self.assertRaisesRegex(RunError, f"{name} has .* bytes, it must have"):
            self.cached()
        manifest = Manifest.load(self.folder)
        del manifest.shards[name]
        manifest.save(self.folder)
        with self.assertRaisesRegex(RunError, "not finished: it has"):
            self.cached()

    def test_a_damaged_list_of_records_and_compressed_record_are_named(self):
        self.build(self.folder, FeatureCache(lab.COPIES, "float32", "zstd", shard_bytes=300_000))
        name = sorted(self.shards())[0]
        path = pathlib.Path(self.folder, name)
        whole = path.read_bytes()
        # The number of records, the end of the last one, its high bits, and the first record.
        for place, bit in ((-8, 2), (-24, 1), (-19, 64), (100, 1)):
            content = bytearray(whole)
            content[place] ^= bit
            path.write_bytes(content)
            data = self.cached()
            with self.assertRaises(tf.errors.OpError):
                list(data.dataset(0, STEPS))
            self.assertRegex(str(data.failure), f"{name} is damaged.*tf-frozen cache")

    def test_more_files_than_a_process_may_open(self):
        self.build(self.folder, FeatureCache(4, "float32", shard_bytes=1))
        self.assertGreater(len(self.shards()), 5)
        expected = [features.maps["3"] for features, _ in self.cached().dataset(0, STEPS)]
        before = reading._OPEN
        self.addCleanup(setattr, reading, "_OPEN", before)
        reading._OPEN = 2
        data = self.cached()
        found = [features.maps["3"] for features, _ in data.dataset(0, STEPS)]
        self.assertAllEqual(found, expected)
        self.assertLessEqual(data._cache._open.cache_info().currsize, 2)

    def test_two_builds_in_one_folder(self):
        class AtWork(Counter):
            def over(counter, batches):  # noqa: N805
                with self.assertRaisesRegex(RunError, "Another .* is at work in"):
                    self.build(self.folder)
                return batches

        foreign = pathlib.Path(self.folder, "download.part")
        foreign.parent.mkdir()
        foreign.write_text("of somebody else")
        (foreign.parent / "features-00000-of-00001.shard.part").write_text("of a build that was killed")
        cache = FeatureCache(lab.COPIES, "float32", shard_bytes=300_000)
        with mock.patch("tf_frozen.feature_cache.build.Counter", AtWork):
            cache.build(lab.batches(), self.model, self.folder)
        self.assertEqual([path.name for path in foreign.parent.glob("*.part")], ["download.part"])

    def test_where_it_cannot_write(self):
        blocked = pathlib.Path(self.folder)
        blocked.write_text("a file")
        with self.assertRaisesRegex(RunError, "Cannot write .*cache"):
            self.build(self.folder)
        # A limit on the size of files stands for a full disk.
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_FSIZE, limits)
        handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        self.addCleanup(signal.signal, signal.SIGXFSZ, handler)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
        with self.assertRaisesRegex(RunError, "Cannot write .*shard: File too large.*bytes are free"):
            self.build(f"{self.folder}_full")
        self.assertEqual(list(pathlib.Path(f"{self.folder}_full").glob("*.part")), [])
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        self.assertTrue(self.build(f"{self.folder}_full"))

    def test_the_key_tells_functions_arrays_and_classes_apart(self):
        self.addCleanup(gin.clear_config)

        def found(*augmentation):
            source = lab.batches()
            source.augmentation = augmentation
            return key(source, self.model)

        gin.bind_parameter("random_grey.probability", 0.1)
        first = found(random_grey, functools.partial(random_grey, probability=0.2), Table(0.0), QuarterTurns())
        self.assertEqual(
            first, found(random_grey, functools.partial(random_grey, probability=0.2), Table(0.0), QuarterTurns())
        )
        gin.bind_parameter("random_grey.probability", 0.9)
        second = found(random_grey, functools.partial(random_grey, probability=0.3), Table(1.0), OtherTurns())
        lines = "\n".join(differences(first, second))
        for line in (
            "random_grey.probability: 0.1 in the cache, 0.9 here",
            r"partial.keywords\[probability\]: 0.2 in the cache, 0.3 here",
            "Table.values: [0-9a-f]{12}… in the cache, [0-9a-f]{12}… here",
            r"augmentation\[4\]: 'tf_frozen.*QuarterTurns' in the cache, 'tests.*OtherTurns' here",
        ):
            self.assertRegex(lines, line)
        with self.assertRaisesRegex(ConfigError, r"augmentation\[1\] is .*could not detect changes of it"):
            found(keras.layers.RandomFlip())

    def test_the_key_stays_where_a_module_moves_within_its_package(self):
        batches = lab.batches()
        batches.augmentation = (QuarterTurns(),)
        before = key(batches, self.model)
        moved = tf.compat.v1.test.mock.patch.object(QuarterTurns, "__module__", "tf_frozen.data.turns")
        with moved:
            self.assertEqual(differences(before, key(batches, self.model)), [])

    def test_an_image_that_was_replaced_by_one_of_its_size(self):
        self.copy_built()
        data = lab.source()
        content = bytearray(pathlib.Path(data.paths[0]).read_bytes())
        content[-3] ^= 1
        other = pathlib.Path(self.folder, os.path.basename(data.paths[0]))
        other.write_bytes(content)
        batches = lab.batches()
        batches.source = ImageFiles(data.examples, data.categories, [str(other), *data.paths[1:]])
        with self.assertRaisesRegex(RunError, "  images: "):
            CacheReader(self.folder, batches, self.model)

    def test_what_cannot_be_cached_is_refused(self):
        model = lab.detector("fine_tune")
        with self.assertRaisesRegex(ConfigError, "cannot be cached: .* train .mode 'fine_tune'"):
            FeatureCache().build(lab.batches(), model, self.folder)
        self.copy_built()
        with self.assertRaisesRegex(ConfigError, "cannot be cached"):
            lab.cached(self.folder, model)
        for options in ({"copies": 0}, {"dtype": "int8"}, {"compression": "gzip"}, {"shard_bytes": 1.5}):
            with self.assertRaisesRegex(ConfigError, f"FeatureCache.{next(iter(options))} is"):
                FeatureCache(**options)

    def test_a_feature_too_large_for_float16_is_an_error_that_says_what_to_use(self):
        norm = next(layer for layer in reversed(self.model.backbone.network.layers) if hasattr(layer, "gamma"))
        values = norm.get_weights()
        self.addCleanup(norm.set_weights, values)
        norm.set_weights([values[0] * 1e6, *values[1:]])
        with self.assertRaisesRegex(RunError, "(?s)not finite as float16: .*jpg.*'bfloat16'"):
            self.build(self.folder, FeatureCache(1))
        self.assertTrue(self.build(f"{self.folder}_b", FeatureCache(1, "bfloat16")))

    def test_features_are_augmented_by_seed_epoch_and_image(self):
        self.copy_built()

        def maps(augmentation):
            source = lab.batches(6)
            reader = CacheReader(self.folder, source, self.model)
            data = CachedBatches(source, reader, augmentation)
            return [
                (features.maps["3"].numpy()[np.argsort(targets["image_index"])])
                for features, targets in data.dataset(0, 3)
            ]

        plain, bright, again = maps(()), maps([ChannelBrightness(0.2)]), maps([ChannelBrightness(0.2)])
        self.assertAllEqual(bright, again)
        self.assertAllEqual(plain[0], plain[2])  # one copy
        shifts = [
            (b - p) / (p.max((1, 2), keepdims=True) - p.min((1, 2), keepdims=True))
            for p, b in zip(plain, bright, strict=True)
        ]
        for shift in shifts:
            self.assertAllClose(shift, np.broadcast_to(shift[:, :1, :1], shift.shape), atol=1e-4)
            self.assertBetween(np.abs(shift).max(), 0.15, 0.2001)
            self.assertGreater(np.ptp(shift[0, 0, 0]), 0.2)  # channels differ
            self.assertNotAllClose(shift[0, 0, 0], shift[1, 0, 0], atol=0.05)  # and images
        self.assertNotAllClose(shifts[0], shifts[2], atol=0.05)  # and epochs of one copy


@pytest.mark.slow
class TwoReplicasTest(tf.test.TestCase):
    def test_losses_on_two_replicas_are_those_of_training_on_the_images(self):
        command = [
            sys.executable,
            "-m",
            "tests.feature_cache.lab",
            self.enter_context(tempfile.TemporaryDirectory()),
        ]
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)
        self.assertEqual(done.returncode, 0, done.stderr)
        found = json.loads(done.stdout.splitlines()[-1])
        self.assertLen(set(found["images"]), STEPS)
        # Two replicas in one process may differ in the last bit from themselves, images or features.
        for readers in (1, 2):
            self.assertAllClose(found[f"float32, {readers}"], found["images"], rtol=3e-7, atol=0)
        self.assertAllClose(found["float16, 2"], found["images"], rtol=1e-3, atol=0)
        # Their mean is shown, not their sum; each counts the objects of its own half of the batch.
        halves = lab.losses(lab.detector(), lab.batches(batch_size=2), 2, eager=True, rate=0.0)
        self.assertAllClose(found["images"][0], np.mean(halves), rtol=1e-5)


if __name__ == "__main__":
    tf.test.main()
