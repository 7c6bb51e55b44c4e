import glob
import json
import os
import random
import re
import shutil
import signal
import subprocess
import tempfile
import time

import numpy as np
import tensorflow as tf

from tests.training import tiny
from tests.training.lab import lab, text, wait_for
from tf_frozen.errors import RunError
from tf_frozen.keras_flavor import keras
from tf_frozen.training.checkpoint import Checkpoints
from tf_frozen.training.checkpoint_list import complete_checkpoints


def assert_same(weights, others):
    assert weights.keys() == others.keys()
    for name, value in weights.items():
        np.testing.assert_array_equal(value, others[name], err_msg=name)


class CheckpointTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def _saved(self, *steps, units=16):
        """Checkpoints of these steps; all weights of the model hold the step."""
        model, optimizer = tiny.Tiny(units), tiny.adam()
        checkpoints = Checkpoints(self.folder, model, optimizer)
        for step in steps:
            optimizer.iterations.assign(step)
            for variable in model.variables:
                variable.assign(tf.fill(variable.shape, float(step)))
            checkpoints.save()
        return model, optimizer, checkpoints

    def _names(self):
        return [os.path.basename(p) for p in complete_checkpoints(os.path.join(self.folder, "checkpoints"))]

    def _restored(self, units=16):
        model, optimizer = tiny.Tiny(units), tiny.adam()
        step = Checkpoints(self.folder, model, optimizer).restore_latest()
        return step, model, optimizer

    def test_a_new_run_starts_at_step_0_and_evaluating_it_writes_nothing(self):
        self.assertEqual(self._restored()[0], 0)
        self.assertEmpty(os.listdir(self.folder))

    def test_restores_weights_optimizer_averages_and_step(self):
        tiny.train(self.folder, total=5)
        saved, step = tiny.state(self.folder)
        self.assertEqual(step, 5)
        step, model, optimizer = self._restored()
        self.assertEqual(step, 5)
        for i, variable in enumerate(optimizer.variables[1:], start=1):
            np.testing.assert_array_equal(variable, saved[f"optimizer/_variables/{i}/.ATTRIBUTES/VARIABLE_VALUE"])
        kernel = saved["detector/inside/kernel/.ATTRIBUTES/VARIABLE_VALUE"]
        np.testing.assert_array_equal(model.inside.kernel, kernel)
        average = optimizer._model_variables_moving_average[0].numpy()
        self.assertGreater(np.abs(kernel - average).max(), 0.01)
        optimizer.finalize_variable_values(model.trainable_variables)
        np.testing.assert_array_equal(model.inside.kernel, average)

    def test_keeps_the_last_three_and_saves_a_step_once(self):
        _, _, checkpoints = self._saved(1, 2, 3, 5, 8)
        self.assertEqual(self._names(), ["ckpt-3", "ckpt-5", "ckpt-8"])
        before = os.stat(os.path.join(self.folder, "checkpoints", "ckpt-8.index")).st_mtime_ns
        self._restored()
        checkpoints.save()
        self.assertEqual(os.stat(os.path.join(self.folder, "checkpoints", "ckpt-8.index")).st_mtime_ns, before)

    def test_keeps_three_over_restarts(self):
        self._saved(1, 2, 3)
        model, optimizer = tiny.Tiny(), tiny.adam()
        checkpoints = Checkpoints(self.folder, model, optimizer)
        self.assertEqual(checkpoints.restore_latest(), 3)
        optimizer.iterations.assign(4)
        checkpoints.save()
        self.assertEqual(self._names(), ["ckpt-2", "ckpt-3", "ckpt-4"])

    def test_a_moved_run_is_restored(self):
        self._saved(1, 2)
        moved = self.folder + "_moved"
        os.rename(self.folder, moved)
        self.addCleanup(shutil.rmtree, moved)
        self.assertEqual(Checkpoints(moved, tiny.Tiny(), tiny.adam()).restore_latest(), 2)

    def test_restores_by_name_or_path(self):
        _, _, checkpoints = self._saved(1, 2)
        self.assertEqual(checkpoints.restore("ckpt-1"), 1)
        self.assertEqual(checkpoints.restore(os.path.join(self.folder, "checkpoints", "ckpt-2.index")), 2)
        with self.assertRaisesRegex(RunError, "no checkpoint 'ckpt-7'.*ckpt-1, ckpt-2"):
            checkpoints.restore("ckpt-7")

    def test_another_architecture_is_refused_with_every_difference(self):
        other = tiny.Tiny()
        other.branch = keras.layers.LayerNormalization()
        other.branch.build([None, 4])
        Checkpoints(self.folder, other, tiny.adam()).save()
        model = tiny.Tiny(units=12)
        model.more = keras.layers.Dense(3)
        model.more.build([None, 2])
        with self.assertRaises(RunError) as caught:
            Checkpoints(self.folder, model, tiny.adam()).restore_latest()
        message = str(caught.exception)
        self.assertRegex(message, r"detector/inside/kernel: float32\[8, 16\] there, float32\[8, 12\] here")
        self.assertRegex(message, r"2 missing in the checkpoint:\n    detector/more/bias float32\[3\]")
        self.assertRegex(message, r"2 extra in it:\n    detector/branch/beta float32\[4\]")
        self.assertIn("ckpt-0", message)
        self.assertNotIn("optimizer", message)

    def test_another_optimizer_is_refused(self):
        self._saved(1)
        with self.assertRaisesRegex(RunError, "_current_learning_rate"):
            Checkpoints(self.folder, tiny.Tiny(), keras.optimizers.AdamW(0.1, use_ema=True)).restore_latest()

    def test_damaged_files_are_passed_over(self):
        def truncate(path):
            os.truncate(path, os.path.getsize(path) // 2)

        def empty(path):
            os.truncate(path, 0)

        def flip(path):
            with open(path, "r+b") as file:
                file.seek(os.path.getsize(path) // 3)
                byte = file.read(1)
                file.seek(-1, os.SEEK_CUR)
                file.write(bytes([byte[0] ^ 0x10]))

        for damage in (truncate, empty, flip, os.remove):
            for file in ("ckpt-3.index", "ckpt-3.data-00000-of-00001"):
                with self.subTest(damage=damage.__name__, file=file):
                    shutil.rmtree(self.folder)
                    self._saved(1, 2, 3)
                    damage(os.path.join(self.folder, "checkpoints", file))
                    step, model, _ = self._restored()
                    self.assertEqual(step, 2)
                    self.assertAllEqual(model.out.kernel, tf.fill(model.out.kernel.shape, 2.0))

    def test_a_damaged_one_is_warned_of_once_and_then_removed(self):
        self._saved(1, 2, 3)
        os.truncate(os.path.join(self.folder, "checkpoints", "ckpt-3.index"), 40)
        model, optimizer = tiny.Tiny(), tiny.adam()
        checkpoints = Checkpoints(self.folder, model, optimizer)
        with self.assertLogs("tf_frozen", "WARNING") as logs:
            checkpoints.restore_latest()
        self.assertIn("ckpt-3 is damaged", logs.output[0])
        self.assertEqual(self._names(), ["ckpt-1", "ckpt-2", "ckpt-3"])
        optimizer.iterations.assign(2 + 40)
        checkpoints.save()
        self.assertNotIn("ckpt-3", self._names())
        with self.assertNoLogs("tf_frozen", "WARNING"):
            self.assertEqual(self._restored()[0], 42)

    def test_when_all_are_damaged_it_does_not_begin_again_in_silence(self):
        _, _, checkpoints = self._saved(1, 2)
        for path in glob.glob(os.path.join(self.folder, "checkpoints", "*.index")):
            os.truncate(path, 10)
        with self.assertRaisesRegex(RunError, "No checkpoint in .*ckpt-2 damaged, ckpt-1 damaged"):
            self._restored()
        with self.assertRaisesRegex(RunError, "ckpt-2 is damaged"):
            checkpoints.restore("ckpt-2")

    def test_a_first_save_that_was_never_finished_does_not_count(self):
        self._saved(1)
        os.remove(os.path.join(self.folder, "checkpoints", "checkpoint"))
        self._write("saving", "ckpt-1")
        os.truncate(os.path.join(self.folder, "checkpoints", "ckpt-1.index"), 10)
        self.assertEqual(self._restored()[0], 0)

    def test_what_killed_saves_left_is_removed_by_the_next_one(self):
        self._saved(4, 5)
        folder = os.path.join(self.folder, "checkpoints")
        os.mkdir(os.path.join(folder, "ckpt-6_temp"))
        for name in ("ckpt-6_temp/part", "ckpt-6.data-00000-of-00001", "ckpt-7.index", "checkpoint.tmp1a", "notes.txt"):
            open(os.path.join(folder, name), "w").close()
        for file in glob.glob(os.path.join(folder, "ckpt-4.*")):  # one that was complete, but never listed
            shutil.copy(file, file.replace("ckpt-4", "ckpt-3"))
        self.assertEqual(self._restored()[0], 5)
        self._saved(8)
        self.assertEqual(self._names(), ["ckpt-4", "ckpt-5", "ckpt-8"])
        self.assertLen(os.listdir(folder), 2 * 3 + len(["checkpoint", "notes.txt"]))

    def _write(self, name, content):
        with open(os.path.join(self.folder, "checkpoints", name), "wb") as file:
            file.write(content if isinstance(content, bytes) else content.encode())

    def _said(self):
        """The step that is restored, and the warnings that come with it."""
        with self.assertLogs("tf_frozen", "WARNING") as logs:
            step = self._restored()[0]
        return step, " ".join(logs.output)

    def test_a_lost_or_garbled_list_is_made_anew_from_the_complete_checkpoints(self):
        path = os.path.join(self.folder, "checkpoints", "checkpoint")
        for content in (b"", b"\x00" * 300, b"\xff\xfe", b"no list", None):
            with self.subTest(content=content):
                shutil.rmtree(self.folder)
                _, optimizer, checkpoints = self._saved(1, 2)
                os.remove(path) if content is None else self._write("checkpoint", content)
                step, said = self._said()
                self.assertEqual(step, 2)
                self.assertRegex(said, "checkpoints/checkpoint cannot be read; every complete .*: ckpt-1, ckpt-2")
                self._saved(3)
                with self.assertNoLogs("tf_frozen", "WARNING"):
                    self.assertEqual(self._restored()[0], 3)
                listed = tf.train.get_checkpoint_state(os.path.dirname(path)).all_model_checkpoint_paths
                self.assertEqual([os.path.basename(each) for each in listed], ["ckpt-1", "ckpt-2", "ckpt-3"])

    def test_a_lost_checkpoint_and_the_step_used_instead_are_named(self):
        for file in ("ckpt-3.index", "ckpt-3.data-00000-of-00001"):
            with self.subTest(file):
                shutil.rmtree(self.folder)
                self._saved(1, 2, 3)
                os.remove(os.path.join(self.folder, "checkpoints", file))
                step, said = self._said()
                self.assertEqual(step, 2)
                part = ".index" if file.endswith("index") else ".data-*"
                self.assertIn(f"checkpoints/ckpt-3 has lost its files {part}; ckpt-2 is used", said)
                self._saved(4)
                with self.assertNoLogs("tf_frozen", "WARNING"):
                    self.assertEqual(self._restored()[0], 4)

    def test_when_all_have_lost_files_it_does_not_begin_again_in_silence(self):
        for suffix, list_too in ((".index", False), (".data-00000-of-00001", False), (".data-00000-of-00001", True)):
            with self.subTest(suffix, list_too=list_too):
                shutil.rmtree(self.folder)
                self._saved(1, 2)
                for step in (1, 2):
                    os.remove(os.path.join(self.folder, "checkpoints", f"ckpt-{step}{suffix}"))
                if list_too:
                    os.remove(os.path.join(self.folder, "checkpoints", "checkpoint"))
                with self.assertRaisesRegex(RunError, r"ckpt-1 without its files \..*, ckpt-2 without"):
                    self._restored()

    def test_one_that_is_not_the_runs_is_never_used(self):
        self._saved(1, 2)
        for file in glob.glob(os.path.join(self.folder, "checkpoints", "ckpt-2.*")):
            shutil.copy(file, file.replace("ckpt-2", "ckpt-9999"))
        step, said = self._said()
        self.assertEqual(step, 2)
        self.assertRegex(said, r"ckpt-9999 is not in the run's list \(.*/checkpoint\) and is skipped; ckpt-2 is used")
        _, _, checkpoints = self._saved(3)
        self.assertEqual(self._said()[0], 3)
        self.assertEqual(checkpoints.restore("ckpt-9999"), 2)

    def test_one_that_a_killed_save_completed_is_used_without_a_word(self):
        self._saved(1, 2)
        listed = text(os.path.join(self.folder, "checkpoints", "checkpoint"))
        self._saved(3)
        self._write("checkpoint", listed)
        self._write("saving", "ckpt-3")
        with self.assertNoLogs("tf_frozen", "WARNING"):
            self.assertEqual(self._restored()[0], 3)
        self._saved(4)
        self.assertEqual(self._names(), ["ckpt-2", "ckpt-3", "ckpt-4"])
        self.assertNotIn("saving", os.listdir(os.path.join(self.folder, "checkpoints")))

    def test_a_file_where_the_folder_must_be(self):
        self._saved(1)
        model, optimizer, checkpoints = self._saved(2)
        folder = os.path.join(self.folder, "checkpoints")
        shutil.rmtree(folder)
        open(folder, "w").close()
        optimizer.iterations.assign(3)
        with self.assertRaisesRegex(RunError, "Cannot write .*ckpt-3: .*checkpoints is a file. Remove or rename"):
            checkpoints.save()
        with self.assertRaisesRegex(RunError, "checkpoints is a file; it must be the folder"):
            self._restored()

    def test_a_folder_of_a_checkpoints_name_is_passed_over_and_removed(self):
        self._saved(1, 2)
        index = os.path.join(self.folder, "checkpoints", "ckpt-2.index")
        os.remove(index)
        os.makedirs(os.path.join(index, "inside"))
        model, optimizer = tiny.Tiny(), tiny.adam()
        checkpoints = Checkpoints(self.folder, model, optimizer)
        self.assertEqual(checkpoints.restore_latest(), 1)
        optimizer.iterations.assign(3)
        checkpoints.save()
        self.assertEqual(self._names(), ["ckpt-1", "ckpt-3"])

    def test_a_state_that_is_not_finite_is_not_saved(self):
        model, optimizer, checkpoints = self._saved(1)
        optimizer.iterations.assign(2)
        kernel = model.inside.kernel.numpy()
        kernel[3, 5] = np.nan
        model.inside.kernel.assign(kernel)
        with self.assertRaisesRegex(RunError, "step 2.*\n.*\n *detector/inside/kernel"):
            checkpoints.save()
        self.assertEqual(self._names(), ["ckpt-1"])

    def test_a_variable_out_of_reach_is_an_error(self):
        model = tiny.Tiny()
        hidden = keras.layers.Dense(3)
        hidden.build([None, 2])
        model.hidden = lambda: hidden  # no attribute that TensorFlow follows
        model.__class__ = type("Other", (tiny.Tiny,), {"variables": property(lambda m: [*m.weights, hidden.kernel])})
        with self.assertRaisesRegex(RunError, "would not hold.*kernel"):
            Checkpoints(self.folder, model, tiny.adam())

    def test_two_replicas_are_restored(self):
        status, output = lab().run("two_replicas", self.folder + "/log", folder=self.folder)
        self.assertEqual(status, 0, output)
        found = json.loads(output.splitlines()[-1])
        self.assertEqual(found["step"], 2)
        self.assertEqual(found["weights"], [0.0, 0.0])
        self.assertAllClose(found["statistics"], [0.0, 0.0], atol=1e-7)


class DiskTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def test_a_file_limit_is_a_clear_error(self):
        status, output = lab().run("save_with_limit", self.folder + "/log", folder=self.folder, most_bytes=100_000)
        self.assertEqual(status, 0, output)
        messages = json.loads(output)
        self.assertLen(messages, 2)
        self.assertRegex(messages[0], r"Cannot write .*ckpt-1: .*needs [\d,]+ bytes; [\d,]+ bytes are free")
        self.assertRegex(messages[1], r"Cannot write .*metrics.json: .*needs 200,000 bytes")
        self.assertEqual(text(self.folder + "/metrics.json"), "old")
        self.assertEqual(sorted(os.listdir(self.folder)), ["checkpoints", "log", "metrics.json"])
        self._assert_intact(self.folder)

    def test_a_full_disk_is_a_clear_error(self):
        if subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", self.folder], capture_output=True
        ).returncode:
            self.skipTest("may not mount a small disk here; the test with a file limit does the same job")
        self.addCleanup(subprocess.run, ["umount", self.folder], check=True)
        model, optimizer = tiny.Tiny(units=2000), tiny.adam()
        checkpoints = Checkpoints(self.folder, model, optimizer)
        checkpoints.save()
        one = sum(os.path.getsize(f) for f in glob.glob(self.folder + "/checkpoints/ckpt-0.*"))
        failures = 0
        for room in np.linspace(0, 1.6 * one, 9):
            filler = self.folder + "/filler"
            with open(filler, "wb") as file:
                file.write(b"x" * (shutil.disk_usage(self.folder).free // 4096 * 4096 - int(room) // 4096 * 4096))
            optimizer.iterations.assign_add(1)
            step = int(optimizer.iterations)
            try:
                checkpoints.save()
            except RunError as error:
                failures += 1
                self.assertRegex(str(error), rf"ckpt-{step}: .*needs [\d,]+ bytes; [\d,]+ bytes are free there")
                self._assert_intact(self.folder)
            else:
                self.assertEqual(Checkpoints(self.folder, model, optimizer).restore_latest(), step)
                break
            os.remove(filler)
        self.assertBetween(failures, 4, 8)

    def _assert_intact(self, folder):
        names = set(os.listdir(folder + "/checkpoints"))
        self.assertEqual(names, {"checkpoint", "ckpt-0.index", "ckpt-0.data-00000-of-00001"})
        self.assertEqual(Checkpoints(folder, tiny.Tiny(units=2000), tiny.adam()).restore_latest(), 0)


class KillTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def test_kill_9_while_saving_loses_no_finished_checkpoint(self):
        chance = random.Random(5)
        log, folder = self.folder + "/log", self.folder + "/checkpoints"
        os.mkdir(folder)
        last = kills = torn = 0
        while kills < 15 or torn < 3 or not last:
            pid = lab().start("save_for_ever", log, folder=self.folder)
            wait_for(lambda: re.search(r"restored \d+\n|Error|MIXED", text(log)))
            time.sleep(chance.uniform(0.0, 0.4))
            os.kill(pid, signal.SIGKILL)
            self.assertEqual(lab().wait(pid), -signal.SIGKILL, text(log))
            restored = int(re.search(r"restored (\d+)", text(log)).group(1))
            # The save that was killed may have been complete already.
            self.assertIn(restored, (last, last + 1), text(log))
            last = max(map(int, re.findall(r"^saved (\d+)$", text(log), re.MULTILINE)), default=restored)
            names = set(os.listdir(folder)) - {"saving"}
            torn += any("temp" in name for name in names) or len(complete_checkpoints(folder)) * 2 + 1 < len(names)
            kills += 1
            self.assertLess(kills, 80, "hardly a kill falls into a save: this does not test much")
        self.assertGreater(last, 0)

    def test_a_killed_run_ends_with_the_very_weights_of_one_that_was_not(self):
        keras.utils.set_random_seed(3)
        model = tiny.Tiny()
        start = [variable.numpy() for variable in model.variables]
        weights = {}
        for name in ("straight", "killed"):
            folder = os.path.join(self.folder, name)
            for variable, value in zip(model.variables, start, strict=True):
                variable.assign(value)
            Checkpoints(folder, model, tiny.adam()).save()
            if name == "killed":
                self._train_and_kill(folder, total=20)
            status, output = lab().run("train", self.folder + "/log", folder=folder, total=20)
            self.assertEqual(status, 0, output)
            weights[name], step = tiny.state(folder)
            self.assertEqual(step, 20)
        self.assertGreater(output.count("ends"), 1)
        self.assertLess(output.count("ends"), 20, "the killed run began again from nothing")
        assert_same(weights["killed"], weights["straight"])

    def _train_and_kill(self, folder, total):
        arguments = dict(folder=folder, total=total, save_steps=3, step_seconds=0.2)
        log = self.folder + "/killed_log"
        pid = lab().start("train", log, **arguments)
        wait_for(lambda: re.search("ends 7|Error", text(log)))
        os.kill(pid, signal.SIGKILL)
        self.assertEqual(lab().wait(pid), -signal.SIGKILL, text(log))


if __name__ == "__main__":
    tf.test.main()
