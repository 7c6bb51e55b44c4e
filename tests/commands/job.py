"""A small training job on a few NEON tiles, and its commands, run here or in processes of their own."""

import atexit
import contextlib
import functools
import io
import json
import os
import pathlib
import shutil
import tempfile

from tests.training.lab import lab, text, wait_for
from tf_frozen import cli
from tf_frozen.data.paths import resolve

STEPS = 40
TREE, SHRUB = 7, 90
SMALL = f"""
TRAIN_STEPS = {STEPS}
BATCH_SIZE = 2
FRAME = (128, 128)
LEARNING_RATE = 3e-3
WARMUP_STEPS = 2
AdamW.ema_momentum = 0.8
EfficientNetLite.levels = (2, 3)
NASFPN.filters = 8
NASFPN.repeats = 1
RegionProposal.filters = 8
RegionProposal.candidates = (50, 50)
RegionProposal.proposals = (20, 20)
RegionProposal.samples = 32
BoxHead.fc_units = 16
BoxCascade.samples = 16
BoxCascade.ious = (0.5,)
BoxCascade.coder_weights = ((10.0, 10.0, 5.0, 5.0),)
"""


def write_data(folder):
    """Four tiles to train on and two to score, image ids that are strings, category ids 7 (rare) and 90."""
    folder = pathlib.Path(folder)
    (folder / "photos").mkdir(parents=True)
    for split, count in (("train", 4), ("val", 2)):
        document = json.loads(pathlib.Path(resolve(f"embedded:neon_trees/{split}.json")).read_text())
        images = document["images"][:count]
        ids = {image["id"]: f"{split} {image['file_name']}" for image in images}
        for image in images:
            shutil.copy(os.path.join(resolve(f"embedded:neon_trees/{split}"), image["file_name"]), folder / "photos")
        rows = [row for row in document["annotations"] if row["image_id"] in ids]
        content = {
            "images": [{**image, "id": ids[image["id"]]} for image in images],
            "annotations": [
                {**row, "image_id": ids[row["image_id"]], "category_id": SHRUB if number % 8 else TREE}
                for number, row in enumerate(rows)
            ],
            "categories": [{"id": SHRUB, "name": "shrub"}, {"id": TREE, "name": "tree"}],
        }
        (folder / f"{split}.json").write_text(json.dumps(content))


def write_job(folder):
    """The data, and small.gin, in a folder."""
    write_data(folder)
    pathlib.Path(folder, "small.gin").write_text(SMALL)


def train_arguments(folder, model_dir, *params, files=()):
    """The words of `tf-frozen train` on the job in `folder`."""
    macros = {
        "TRAIN_ANNOTATIONS": "train.json",
        "TRAIN_IMAGES": "photos",
        "VAL_ANNOTATIONS": "val.json",
        "VAL_IMAGES": "photos",
    }
    params = [*(f'{macro} = "{pathlib.Path(folder, name)}"' for macro, name in macros.items()), *params]
    files = ["runs/train_on_coco_json.gin", os.path.join(folder, "small.gin"), *files]
    words = [f"--gin_file={file}" for file in files] + [f"--gin_param={param}" for param in params]
    return ["train", *words, f"--model_dir={model_dir}"]


def command(*arguments):
    """Exit code, standard output and standard error of `tf-frozen` in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli.main([str(word) for word in arguments])
    return code, out.getvalue(), err.getvalue()


class Process:
    """`tf-frozen` in a process of its own; what it says goes to the file `log`."""

    def __init__(self, arguments, log, folder="."):
        self._log = str(log)
        self.pid = lab().start("command", self._log, arguments=arguments, folder=str(folder))

    @property
    def output(self):
        return text(self._log)

    def signal(self, number, when):
        """Sends a signal as soon as `when()` is true; returns the exit code, negative if a signal ended it."""
        wait_for(lambda: when() or "Traceback" in self.output, seconds=300)
        os.kill(self.pid, number)
        return self.wait()

    def wait(self):
        return lab().wait(self.pid)


@functools.cache
def shared_folder():
    """A folder with the job, for all tests of this process."""
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    write_job(folder)
    return pathlib.Path(folder)
