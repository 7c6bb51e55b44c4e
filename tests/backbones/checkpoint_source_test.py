import http.server
import io
import os
import tarfile
import tempfile
import threading
from unittest import mock

import tensorflow as tf

from tf_frozen.backbones.checkpoint_source import checkpoint_prefix
from tf_frozen.errors import ConfigError


def value(source):
    """The variable of the checkpoint that a source leads to."""
    with checkpoint_prefix(source) as prefix:
        return float(tf.train.load_variable(prefix, "v/.ATTRIBUTES/VARIABLE_VALUE"))


class SourceTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def path(self, *parts):
        path = os.path.join(self.folder, *parts)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return path

    def written(self, *parts, number=1.0):
        """The prefix of a checkpoint without a `checkpoint` file beside it."""
        return tf.train.Checkpoint(v=tf.Variable(number)).write(self.path(*parts))

    def archive(self, name, prefix, inside="", mode="w:gz"):
        with tarfile.open(self.path(name), mode) as archive:
            for file in tf.io.gfile.glob(f"{prefix}.*"):
                archive.add(file, inside + os.path.basename(file))
        return self.path(name)


class FolderTest(SourceTest):
    def test_its_checkpoint_file_names_the_latest(self):
        for number in (1.0, 2.0):
            tf.train.Checkpoint(v=tf.Variable(number)).save(self.path("run", f"at-{number}"))
        self.assertEqual(value(self.path("run")), 2.0)

    def test_the_only_checkpoint_needs_no_checkpoint_file(self):
        self.written("lone", "model", number=3.0)
        self.assertEqual(value(self.path("lone")), 3.0)

    def test_a_checkpoint_file_from_elsewhere_does_not_hide_the_only_checkpoint(self):
        self.written("moved", "model", number=4.0)
        with open(self.path("moved", "checkpoint"), "w") as file:
            file.write('model_checkpoint_path: "/where/it/was/model"')
        self.assertEqual(value(self.path("moved")), 4.0)

    def test_one_of_several_has_to_be_named(self):
        for name in ("late", "early"):
            self.written("two", name)
        with self.assertRaisesRegex(ConfigError, "two'.*its checkpoints: early, late. Give the prefix of one"):
            value(self.path("two"))

    def test_no_checkpoint_is_an_error(self):
        with self.assertRaisesRegex(ConfigError, "empty/'.*its checkpoints: none"):
            value(self.path("empty", ""))


class PrefixTest(SourceTest):
    def test_of_one_of_several(self):
        for number in (1.0, 2.0):
            self.written("two", f"at-{number}", number=number)
        self.assertEqual([value(self.path("two", f"at-{number}")) for number in (1.0, 2.0)], [1.0, 2.0])

    def test_a_file_of_the_checkpoint_does_for_it(self):
        prefix = self.written("model", number=3.0)
        self.assertEqual(value(f"{prefix}.index"), 3.0)
        self.assertEqual(value(f"{prefix}.data-00000-of-00001"), 3.0)

    def test_starts_from_the_home_folder_where_it_says_so(self):
        self.written("model", number=3.0)
        with mock.patch.dict(os.environ, HOME=self.folder):
            self.assertEqual(value("~/model"), 3.0)

    def test_of_nothing_is_an_error(self):
        for source in (self.path("nothing"), ""):
            with self.assertRaisesRegex(ConfigError, f"init_checkpoint is '{source}', and nothing is there"):
                value(source)


class ArchiveTest(SourceTest):
    def test_flat_nested_or_not_compressed(self):
        prefix = self.written("model", number=5.0)
        self.assertEqual(value(self.archive("flat.tar.gz", prefix)), 5.0)
        self.assertEqual(value(self.archive("deep.tar.gz", prefix, inside="a/b/")), 5.0)
        self.assertEqual(value(self.archive("plain.tar", prefix, mode="w")), 5.0)

    def test_its_checkpoint_file_counts(self):
        manager = tf.train.CheckpointManager(tf.train.Checkpoint(v=tf.Variable(6.0)), self.path("run"), 2)
        for _ in range(2):
            manager.save()
        with tarfile.open(self.path("run.tar.gz"), "w:gz") as archive:
            archive.add(self.path("run"), "run")
        self.assertEqual(value(self.path("run.tar.gz")), 6.0)

    def test_is_unpacked_for_as_long_as_it_is_read(self):
        archive = self.archive("model.tar.gz", self.written("model"))
        with checkpoint_prefix(archive) as prefix:
            self.assertLen(os.listdir(os.path.dirname(prefix)), 2)
        self.assertFalse(os.path.exists(os.path.dirname(prefix)))
        with self.assertRaises(KeyError), checkpoint_prefix(archive) as prefix:
            raise KeyError
        self.assertFalse(os.path.exists(os.path.dirname(prefix)))

    def test_nothing_of_it_leaves_the_temporary_folder(self):
        prefix, outside = self.written("model", number=7.0), self.path("outside.index")
        before = sorted(os.listdir(self.folder))
        with tarfile.open(self.path("evil.tar.gz"), "w:gz") as archive:
            link = tarfile.TarInfo("model.data-00000-of-00001")
            link.type, link.linkname = tarfile.SYMTYPE, self.path("secret")
            archive.addfile(link)
            for name in (outside, "../../outside.data-00000-of-00001"):
                archive.addfile(tarfile.TarInfo(name), io.BytesIO())
            archive.add(f"{prefix}.index", "model.index")
        with self.assertRaisesRegex(ConfigError, "its checkpoints: model, outside"):
            value(self.path("evil.tar.gz"))
        self.assertEqual(sorted(os.listdir(self.folder)), sorted([*before, "evil.tar.gz"]))

    def test_two_checkpoints_of_one_name_do_not_become_one(self):
        with tarfile.open(self.path("two.tar.gz"), "w:gz") as archive:
            for folder in ("one", "other"):
                archive.add(f"{self.written(folder, 'model')}.index", f"{folder}/model.index")
        with self.assertRaisesRegex(ConfigError, "two.tar.gz' holds several files 'model.index'"):
            value(self.path("two.tar.gz"))

    def test_one_that_was_cut_short_or_is_none_is_an_error(self):
        with open(self.archive("whole.tar.gz", self.written("model")), "rb") as file:
            content = file.read()
        for name, kept in {"short": content[:-60], "half": content[: len(content) // 2], "none": b"<html>"}.items():
            with open(self.path(f"{name}.tar.gz"), "wb") as file:
                file.write(kept)
            with self.assertRaisesRegex(
                ConfigError, f"{name}.tar.gz' cannot be unpacked.*delete it and fetch it again"
            ):
                value(self.path(f"{name}.tar.gz"))


class AddressTest(SourceTest):
    def setUp(self):
        super().setUp()
        self.enter_context(mock.patch.dict(os.environ, KERAS_HOME=self.path("cache")))

    def serve(self, folder):
        """The address of a server of that folder, and the list of the paths it was asked for."""
        asked = []

        class Handler(http.server.SimpleHTTPRequestHandler):
            def __init__(self, *args):
                super().__init__(*args, directory=folder)

            def log_request(self, *args):
                asked.append(self.path)

            def log_message(self, *args):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}", asked

    def test_is_downloaded_once_and_apart_from_others_of_that_name(self):
        for folder, number in (("a", 1.0), ("b", 2.0)):
            self.archive(f"www/{folder}/model.tar.gz", self.written(folder, number=number))
        address, asked = self.serve(self.path("www"))
        for folder, number in (("a", 1.0), ("b", 2.0), ("a", 1.0)):
            self.assertEqual(value(f"{address}/{folder}/model.tar.gz"), number)
        self.assertEqual(asked, ["/a/model.tar.gz", "/b/model.tar.gz"])

    def test_one_that_cannot_be_had_says_what_to_do_offline(self):
        address, _ = self.serve(self.path("www", ""))
        with self.assertRaisesRegex(ConfigError, "not_there.tar.gz cannot be downloaded: .*404.*Download it by hand"):
            value(f"{address}/not_there.tar.gz")
        with self.assertRaisesRegex(
            ConfigError, "invalid/a.tar.gz cannot be downloaded: .*give the path of the .tar.gz"
        ):
            value("https://storage.invalid/a.tar.gz")


if __name__ == "__main__":
    tf.test.main()
