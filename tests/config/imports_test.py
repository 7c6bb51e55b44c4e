import sys
from pathlib import Path

import gin
import tensorflow as tf
from gin import config as gin_config

import tf_frozen.necks
from tests.config.toys import RUN, GinTest
from tf_frozen.config.imports import package_of, with_packages
from tf_frozen.config.load import load_config
from tf_frozen.config.record import config_of, save_config

MODULE = """
import gin

@gin.configurable
class ToyMoved:
    def __init__(self, filters=1):
        self.filters = filters
"""


class ImportsTest(GinTest):
    """A module whose folder is part of the package tf_frozen.necks."""

    def setUp(self):
        super().setUp()
        patched = tf.compat.v1.test.mock.patch.object
        self.enter_context(patched(tf_frozen.necks, "__path__", [*tf_frozen.necks.__path__, str(self.folder)]))
        self.enter_context(patched(sys, "path", [str(self.folder), *sys.path]))
        self.addCleanup(self.forget, "tf_frozen.necks.old_place", "tf_frozen.necks.new_place", "toy_module")
        self.file(MODULE, "old_place.py")

    def forget(self, *modules):
        """Makes Python and gin know modules as little as a new process does."""
        for module in modules:
            sys.modules.pop(module, None)
            if f"{module}.ToyMoved" in gin_config._REGISTRY:
                gin_config._REGISTRY.pop(f"{module}.ToyMoved")

    def move(self):
        Path("old_place.py").rename("new_place.py")
        self.forget("tf_frozen.necks.old_place")

    def test_a_package_makes_all_in_it_known(self):
        self.load(f"{RUN}import tf_frozen.necks\nToyMoved.filters = 3\nToyRun.neck = @ToyMoved()")
        self.assertEqual(self.build().neck.filters, 3)

    def test_a_saved_run_opens_after_a_module_has_moved(self):
        for imported in ("tf_frozen.necks", "tf_frozen.necks.old_place", "tf_frozen.necks.old_place as toy"):
            with self.subTest(imported):
                self.file(MODULE, "old_place.py")
                text = f"{RUN}import {imported}\nold_place.ToyMoved.filters = 3\nToyRun.neck = @a/old_place.ToyMoved()"
                self.load(text)
                self.build()
                save_config("run")
                self.move()
                for name in ("config.gin", "operative_config.gin"):
                    saved = Path("run", name).read_text()
                    self.assertStartsWith(saved, "import tf_frozen.necks\n\n# Macros:")
                    self.assertNotIn("old_place", saved)
                load_config([config_of("run")])
                self.assertEqual(self.build().neck.filters, 3)
                self.forget("tf_frozen.necks.new_place")
                Path("new_place.py").unlink()

    def test_imports_of_a_saved_run_are_as_short_as_they_can_be(self):
        self.file("", "toy_module.py")
        modules = ("tf_frozen.necks.fpn", "email.mime.text", "tf_frozen.necks.bifpn", "toy_module", "tf_frozen.heads")
        self.load("\n".join([RUN, *(f"import {module}" for module in modules), "from email import charset as c"]))
        expected = ("email.charset", "email.mime.text", "tf_frozen.heads", "tf_frozen.necks", "toy_module")
        text = with_packages(gin.config_str())
        self.assertStartsWith(text, "".join(f"import {module}\n" for module in expected) + "\n# Macros:")
        self.load(text)
        self.assertEqual(with_packages(gin.config_str()), text)

    def test_names_of_modules_are_kept_where_two_classes_share_one(self):
        self.file(MODULE, "toy_module.py")
        imports = "import tf_frozen.necks\nimport toy_module\n"
        self.load(f"{RUN}{imports}toy_module.ToyMoved.filters = 3\nToyRun.neck = @toy_module.ToyMoved()")
        save_config("run")
        self.move()
        self.forget("toy_module")
        load_config([config_of("run")])
        self.assertEqual(self.build().neck.filters, 3)

    def test_a_run_that_imports_a_module_which_has_moved_is_told_the_package(self):
        Path("run").mkdir()
        Path("run/config.gin").write_text(f"import tf_frozen.necks.old_place as tf_frozen2\n{RUN}")
        load_config([config_of("run")])
        self.move()
        message = self.fault(load_config, [config_of("run")])
        self.assertStartsWith(message, "run/config.gin:1: There is no module 'tf_frozen.necks.old_place'.")
        self.assertIn("Import the package, in which modules may move: import tf_frozen.necks\n", message)

    def test_a_broken_module_of_a_package_is_named(self):
        self.file("import not_there_at_all", "new_place.py")
        message = self.fault(self.load, "import tf_frozen.necks")
        self.assertIn("tf_frozen.necks.new_place needs the module 'not_there_at_all'", message)

    def test_package_of(self):
        for module, package in (
            ("tf_frozen.data.augmentation.color_jitter", "tf_frozen.data"),
            ("tf_frozen.data", "tf_frozen.data"),
            ("tf_frozen", "tf_frozen"),
            ("tf_frozen_extras.data.more", "tf_frozen_extras.data.more"),
        ):
            self.assertEqual(package_of(module), package)


if __name__ == "__main__":
    tf.test.main()
