"""Builds the tf_frozen package: the library, export/ as tf_frozen.export and gin_configs/ as its data."""

from __future__ import annotations

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent

TENSORFLOW = "2.20.0"

# What the package imports itself, plus setuptools: tensorflow_hub and TensorBoard need its pkg_resources, which
# later releases no longer have. requirements/constraints.txt pins everything below these. NumPy is a range since
# no one release spans Python 3.10 to 3.13 and the newest fixes.
REQUIREMENTS = [
    f"tensorflow=={TENSORFLOW}",
    "tf-models-official==2.20.0",
    "tf-keras==2.20.1",
    "gin-config==0.5.0",
    "numpy>=2.0,<2.5",
    "pillow==12.3.0",
    "pycocotools==2.0.11",
    "tqdm==4.70.1",
    "setuptools<81",
    "xxhash==4.1.0",
    "zstandard==0.25.0",
]

EXTRAS = {
    "test": ["pytest==9.2.0", "pytest-xdist==3.8.0", "ruff==0.17.6", "setuptools==80.10.2"],
    "gpu": [f"tensorflow[and-cuda]=={TENSORFLOW}"],
}


def read_version() -> str:
    """Returns the version that tf_frozen/__init__.py states, without importing the package."""
    text = (ROOT / "tf_frozen" / "__init__.py").read_text(encoding="utf-8")
    return re.search(r'^__version__ = "([^"]+)"$', text, re.MULTILINE).group(1)


def packages() -> list[str]:
    """Returns every package of the wheel by the name it is imported by."""
    library = find_packages(include=["tf_frozen", "tf_frozen.*"])
    export = [f"tf_frozen.export.{name}" for name in find_packages("export")]
    return [*library, "tf_frozen.export", *export, "tf_frozen.gin_configs"]


setup(
    name="tf_frozen",
    version=read_version(),
    description="Train object detectors on frozen pretrained backbones, in TensorFlow and Keras.",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license_expression="Apache-2.0",
    license_files=["LICENSE", "NOTICE"],
    python_requires=">=3.10,<3.14",
    install_requires=REQUIREMENTS,
    extras_require=EXTRAS,
    packages=packages(),
    package_dir={"tf_frozen.export": "export", "tf_frozen.gin_configs": "gin_configs"},
    package_data={
        "tf_frozen": ["data/embedded/**/*"],
        "tf_frozen.backbones": ["weights/*.npz"],
        "tf_frozen.gin_configs": ["**/*.gin", "README.md"],
    },
    entry_points={"console_scripts": ["tf-frozen = tf_frozen.cli:main"]},
    classifiers=[
        "Programming Language :: Python :: 3",
        *(f"Programming Language :: Python :: 3.{minor}" for minor in range(10, 14)),
        "Topic :: Scientific/Engineering :: Image Recognition",
    ],
)
