import functools
import json
import pathlib
import re
import signal
import tempfile

import gin
import pytest
import tensorflow as tf

from tests.commands import job
from tests.training import tiny_run
from tests.training.tiny import state

COPIES = 100


def shards(folder):
    return {path.name: path.read_bytes() for path in pathlib.Path(folder).glob("features-*.shard")}


@pytest.mark.slow
class CacheTest(tf.test.TestCase):
    def test_goes_on_after_kill_9_and_a_run_trains_from_it(self):
        self.addCleanup(gin.clear_config)
        folder = tiny_run.write(self.enter_context(tempfile.TemporaryDirectory()) + "/job")
        words, load = (
            functools.partial(function, folder, files=["augmentation/upright.gin"])
            for function in (tiny_run.words, tiny_run.load)
        )
        train = words(folder / "run", "FRAME = (128, 128)")
        options = [f"--gin_param=FeatureCache.copies = {COPIES}", "--gin_param=FeatureCache.shard_bytes = 40_000"]
        options += ["--gin_param=FeatureCache.dtype = 'float32'"]
        cache = ["cache", *train[1:-1], *options]
        output = folder / "cache"
        with self.subTest("an estimate writes nothing"):
            code, out, _ = job.command(*cache, f"--output={output}", "--estimate")
            self.assertEqual(code, 0)
            self.assertRegex(out, rf"4 images in {COPIES} copies: 0\.0\d+ GB before compression, .* GB are free")
            self.assertFalse(output.exists())
        process = job.Process([*cache, f"--output={output}"], folder / "killed.log", folder)
        self.assertEqual(process.end(signal.SIGKILL, lambda: len(shards(output)) >= 3), -9, process.output)
        before = shards(output)
        _, _, count = next(iter(before)).partition("-of-")
        self.assertLess(len(before), int(re.match(r"\d+", count)[0]))
        code, out, error = job.command(*cache, f"--output={output}")
        self.assertEqual(code, 0, f"{out}\n{error}")
        self.assertRegex(out, r"\d+ of \d+ shards are complete")
        self.assertEqual(job.command(*cache, f"--output={folder / 'other'}")[0], 0)
        self.assertEqual(shards(output), shards(folder / "other"))
        self.assertEqual({name: shards(output)[name] for name in before}, before)
        self.assertEqual([path for path in output.iterdir() if path.name.endswith(".part")], [])
        with self.subTest("made already"):
            self.assertRegex(
                job.command(*cache, f"--output={output}")[1], "is complete already; all its files are intact"
            )
        with self.subTest("trains"):
            (folder / "bright.gin").write_text(
                "import tf_frozen.feature_cache\nCachedBatches.augmentation = [@ChannelBrightness()]\n"
            )
            options = [f"--gin_param=FEATURE_CACHE = '{output}'", f"--gin_file={folder / 'bright.gin'}", "--strict"]
            code, out, error = job.command(*train, *options)
            self.assertEqual(code, 0, f"{out}\n{error}")
            audit = json.loads((folder / "run" / "freezing.json").read_text())
            self.assertEqual((audit["verdict"], audit["violations"]), ("frozen", []))
        with self.subTest("ends with the weights of training on the images of the same copies"):
            copies, cached = f"TrainBatches.fixed_copies = {COPIES}", f"FEATURE_CACHE = '{output}'"
            for name, param in (("images", copies), ("cached", cached)):
                self.assertTrue(load(folder / name, "FRAME = (128, 128)", param).train())
            expected, found = (state(str(folder / name))[0] for name in ("images", "cached"))
            self.assertEqual(set(found), set(expected))
            for name, value in expected.items():
                self.assertAllEqual(found[name], value, name)
        with self.subTest("a stale one"):
            stale = words(folder / "run2", "FRAME = (128, 128)", cached, "ScaleJitter.maximum = 1.5")
            code, _, error = job.command(*stale)
            self.assertEqual(code, 2)
            self.assertIn("ScaleJitter.maximum: 1.3 in the cache, 1.5 here", error)


if __name__ == "__main__":
    tf.test.main()
