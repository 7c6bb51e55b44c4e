"""The wheel: built from a copy of the tree, looked into, and used from a folder far from the checkout."""

import email
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import tensorflow as tf

ROOT = Path(__file__).resolve().parents[1]
SOURCES = (
    *("setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE", "NOTICE"),
    *("tf_frozen", "export", "gin_configs"),
)
# Where each folder of the checkout lies inside the wheel.
INSTALLED_AS = {"tf_frozen": "tf_frozen", "export": "tf_frozen/export", "gin_configs": "tf_frozen/gin_configs"}
CLEAN = shutil.ignore_patterns("__pycache__", "*.pyc", ".ipynb_checkpoints")


def build_wheel(folder: Path) -> Path:
    """Builds the wheel offline, with this environment's setuptools, from a copy of the sources under `folder`."""
    tree = folder / "tree"
    tree.mkdir(parents=True)
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tree / name, ignore=CLEAN)
        else:
            shutil.copy(source, tree / name)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-index", "--no-build-isolation"]
    run([*command, "--wheel-dir", str(folder / "dist"), str(tree)], cwd=folder)
    (wheel,) = (folder / "dist").glob("*.whl")
    return wheel


def run(command: list[str], cwd: Path, **environment: str) -> str:
    """Runs `command` and returns its output; fails with all that it said."""
    result = subprocess.run(
        command,
        cwd=cwd,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
    )
    if result.returncode:
        raise AssertionError(f"{command} exited {result.returncode}\n{result.stdout}\n{result.stderr}")
    return result.stdout


class WheelTest(tf.test.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.folder = Path(tf.compat.v1.test.get_temp_dir()) / "packaging"
        shutil.rmtree(cls.folder, ignore_errors=True)
        cls.wheel = build_wheel(cls.folder)
        with zipfile.ZipFile(cls.wheel) as archive:
            cls.names = set(archive.namelist())
            (metadata,) = (name for name in cls.names if name.endswith(".dist-info/METADATA"))
            cls.dist_info = metadata.rpartition("/")[0]
            cls.metadata = email.message_from_bytes(archive.read(metadata))
            cls.contents = {name: archive.read(name) for name in cls.names}

    def test_holds_every_file_of_the_package_unchanged(self):
        for folder, installed in INSTALLED_AS.items():
            for path in (ROOT / folder).rglob("*"):
                if path.is_file() and "__pycache__" not in path.parts:
                    name = f"{installed}/{path.relative_to(ROOT / folder).as_posix()}"
                    self.assertIn(name, self.names)
                    self.assertEqual(self.contents[name], path.read_bytes(), msg=name)

    def test_holds_what_the_main_job_needs(self):
        needed = {
            "tf_frozen/cli.py",
            "tf_frozen/export/saved_model.py",
            "tf_frozen/gin_configs/quickstart.gin",
            "tf_frozen/gin_configs/runs/train_on_coco_json.gin",
            "tf_frozen/data/embedded/neon_trees/train.json",
            "tf_frozen/data/embedded/neon_trees/val.json",
            "tf_frozen/backbones/weights/efficientnet_lite0_imagenet_notop_float16.npz",
        }
        self.assertEmpty(needed - self.names)
        photographs = [name for name in self.names if name.endswith(".jpg")]
        self.assertLen(photographs, 42 + 9)

    def test_holds_nothing_beside_the_package(self):
        self.assertEqual({name.split("/")[0] for name in self.names}, {"tf_frozen", self.dist_info})
        self.assertLess(self.wheel.stat().st_size, 20e6)

    def test_carries_its_licence_and_the_notices_of_others(self):
        self.assertEqual(self.metadata["License-Expression"], "Apache-2.0")
        self.assertEqual(self.metadata.get_all("License-File"), ["LICENSE", "NOTICE"])
        licence = self.contents[f"{self.dist_info}/licenses/LICENSE"].decode()
        self.assertIn("Apache License", licence)
        self.assertIn("END OF TERMS AND CONDITIONS", licence)
        notice = self.contents[f"{self.dist_info}/licenses/NOTICE"].decode()
        for words in ("DP3.30010.001", "CC0 1.0", "e1009180", "MIT License", "579344248a93e230", "Model Garden"):
            self.assertIn(words, notice)

    def test_metadata_states_python_requirements_and_command(self):
        self.assertEqual(self.metadata["Name"].replace("-", "_"), "tf_frozen")
        self.assertEqual(set(self.metadata["Requires-Python"].split(",")), {">=3.10", "<3.14"})
        self.assertContainsSubset(["test", "gpu"], self.metadata.get_all("Provides-Extra"))
        requirements = self.metadata.get_all("Requires-Dist")
        self.assertIn("tensorflow==2.20.0", requirements)
        self.assertIn('tensorflow[and-cuda]==2.20.0; extra == "gpu"', requirements)
        commands = self.contents[f"{self.dist_info}/entry_points.txt"].decode()
        self.assertIn("tf-frozen = tf_frozen.cli:main", commands)

    def test_every_pinned_requirement_is_pinned_alike_in_the_constraints(self):
        constraints = (ROOT / "requirements" / "constraints.txt").read_text(encoding="utf-8").splitlines()
        pins = dict(line.split("==") for line in constraints if not line.startswith("#"))
        pins = {name.lower().replace("_", "-"): version for name, version in pins.items()}
        for requirement in self.metadata.get_all("Requires-Dist"):
            name, equals, version = requirement.partition(";")[0].partition("==")
            if equals:
                self.assertEqual(pins[name.partition("[")[0].lower().replace("_", "-")], version, msg=name)

    def test_installed_wheel_works_from_any_folder(self):
        site, elsewhere = self.folder / "site", self.folder / "elsewhere"
        elsewhere.mkdir(exist_ok=True)
        command = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--target", str(site)]
        run([*command, str(self.wheel)], cwd=elsewhere)
        probe = (
            "import sys, tf_frozen, tf_frozen.export; from tf_frozen.data import paths; from tf_frozen.cli import main;"
            "print(tf_frozen.__file__); print(tf_frozen.export.__file__);"
            "print(paths.resolve('embedded:neon_trees/val.json')); sys.exit(main(['configs']))"
        )
        printed = run([sys.executable, "-c", probe], cwd=elsewhere, PYTHONPATH=str(site)).splitlines()
        for path in printed[:3]:
            self.assertStartsWith(os.path.realpath(path), os.path.realpath(site))
        self.assertContainsSubset(
            ["quickstart.gin", "runs/train_on_coco_json.gin"], [line.split()[0] for line in printed[3:]]
        )


if __name__ == "__main__":
    tf.test.main()
