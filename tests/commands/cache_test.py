import json
import pathlib
import re
import signal
import tempfile

import pytest
import tensorflow as tf

from tests.commands import job
from tests.training.tiny import state


def shards(folder):
    return {path.name: path.read_bytes() for path in pathlib.Path(folder).glob("features-*.shard")}


@pytest.mark.slow
class CacheTest(tf.test.TestCase):
    def test_goes_on_after_kill_9_and_a_run_trains_from_it(self):
        folder = job.write_job(self.enter_context(tempfile.TemporaryDirectory()) + "/job")
        train = job.train_words(folder, folder / "run", "TRAIN_STEPS = 6")
        options = ["--gin_param=FeatureCache.views = 15", "--gin_param=FeatureCache.shard_bytes = 300_000"]
        options += ["--gin_param=FeatureCache.dtype = 'float32'"]
        cache = ["cache", *train[1:-1], *options]
        output = folder / "cache"
        with self.subTest("an estimate writes nothing"):
            code, out, _ = job.command(*cache, f"--output={output}", "--estimate")
            self.assertEqual(code, 0)
            self.assertRegex(out, r"4 images in 15 views: 0\.0\d+ GB before compression, .* GB are free")
            self.assertFalse(output.exists())
        words = [str(word) for word in (*cache, f"--output={output}")]
        process = job.Process(words, folder / "killed.log", folder)
        self.assertEqual(process.end(signal.SIGKILL, lambda: len(shards(output)) >= 3), -9, process.output)
        before = shards(output)
        _, _, count = next(iter(before)).partition("-of-")
        self.assertLess(len(before), int(re.match(r"\d+", count)[0]))
        code, out, error = job.command(*cache, f"--output={output}")
        self.assertEqual(code, 0, f"{out}\n{error}")
        self.assertRegex(out, r"\d+ of \d+ shards are there and whole")
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
                "import tf_frozen.data\nCachedBatches.augmentation = [@ChannelBrightness()]\n"
            )
            words = [f"--gin_param=FEATURE_CACHE = '{output}'", f"--gin_file={folder / 'bright.gin'}", "--strict"]
            code, out, error = job.command(*train, *words)
            self.assertEqual(code, 0, f"{out}\n{error}")
            audit = json.loads((folder / "run" / "freezing.json").read_text())
            self.assertEqual((audit["verdict"], audit["violations"]), ("frozen", []))
        with self.subTest("ends with the weights of training on the images of the same views"):
            for name, param in (("images", "TrainBatches.fixed_views = 15"), ("cached", f"FEATURE_CACHE = '{output}'")):
                words = job.train_words(folder, folder / name, "TRAIN_STEPS = 3", param)
                self.assertEqual(job.command(*words)[0], 0)
            expected, found = (state(str(folder / name))[0] for name in ("images", "cached"))
            self.assertEqual(set(found), set(expected))
            for name, value in expected.items():
                self.assertAllEqual(found[name], value, name)
        with self.subTest("a stale one"):
            words = job.train_words(folder, folder / "run2", f"FEATURE_CACHE = '{output}'", "ScaleJitter.maximum = 1.5")
            code, _, error = job.command(*words)
            self.assertEqual(code, 2)
            self.assertIn("ScaleJitter.maximum: 1.3 in the cache, 1.5 here", error)


if __name__ == "__main__":
    tf.test.main()
