"""A small training job on a few NEON tiles, and its commands, run here or in separate processes."""

import contextlib
import functools
import io
import json
import os
import pathlib
import re
import shutil
import signal
from typing import NamedTuple

import gin

from tests import shared
from tests.training.lab import lab, text, wait_for
from tf_frozen import cli
from tf_frozen.data.paths import resolve

STEPS = 40
SCORED_AT = 30
TREE, SHRUB = 7, 90
FILES = ("runs/train_on_coco_json.gin", "small.gin")
SMALL = f"""
TRAIN_STEPS = {STEPS}
BATCH_SIZE = 2
FRAME = (128, 128)
LEARNING_RATE = 1e-2
LEARNING_RATE_BATCH = 2
WARMUP_STEPS = 2
AdamW.ema_momentum = 0.8
EfficientNetLite.levels = (2, 3)
small_neck/BatchNorm.momentum = 0.5
small_proposal/BatchNorm.momentum = 0.5
small_head/BatchNorm.momentum = 0.5
FPN.filters = 8
RegionProposal.filters = 8
ProposalNMS.candidates = (50, 50)
ProposalNMS.proposals = (20, 20)
proposal/BalancedSampler.samples = 32
BoxHead.fc_units = 16
box/BalancedSampler.samples = 16
BoxCascade.ious = (0.5,)
BoxCascade.coder_weights = ((10, 10, 5, 5),)
"""


def write_data(folder):
    """Four tiles to train on and two to score; image ids are strings, category ids 90 and, every eighth box, 7."""
    folder = pathlib.Path(folder)
    (folder / "photos").mkdir(parents=True)
    for split, count in (("train", 4), ("val", 2)):
        document = json.loads(pathlib.Path(resolve(f"embedded:neon_trees/{split}.json")).read_text())
        images = document["images"][:count]
        ids = {image["id"]: f"{split} {number}" for number, image in enumerate(images)}
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
    """Writes the data and small.gin to a folder, and returns its path."""
    write_data(folder)
    pathlib.Path(folder, "small.gin").write_text(SMALL)
    return pathlib.Path(folder)


def data_params(folder):
    """The four macros as gin parameters."""
    return [
        f"{split}_{kind} = '{pathlib.Path(folder, name)}'"
        for split in ("TRAIN", "VAL")
        for kind, name in (("ANNOTATIONS", f"{split.lower()}.json"), ("IMAGES", "photos"))
    ]


def train_words(folder, model_dir, *params, files=()):
    """The words of `tf-frozen train` on the job in `folder`."""
    files = [FILES[0], os.path.join(folder, FILES[1]), *files]
    words = [f"--gin_file={file}" for file in files]
    words += [f"--gin_param={param}" for param in [*data_params(folder), *params]]
    return ["train", *words, f"--model_dir={model_dir}"]


def command(*words):
    """Exit code, standard output and standard error of `tf-frozen` in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli.main([str(word) for word in words])
    gin.clear_config()  # it would hold for the tests that follow
    return code, out.getvalue(), err.getvalue()


def saved_step(model_dir):
    """The step of the newest checkpoint, -1 where there is none."""
    names = [path.name for path in pathlib.Path(model_dir, "checkpoints").glob("ckpt-*.index")]
    return max((int(re.sub(r"\D", "", name)) for name in names), default=-1)


class Process:
    """`tf-frozen` in a separate process; what it says goes to the file `log`."""

    def __init__(self, words, log, folder):
        self._log = str(log)
        self.pid = lab().start("command", self._log, words=words, folder=str(folder))

    @property
    def output(self):
        return text(self._log)

    def end(self, number=None, when=lambda: True):
        """Exit code, negative when a signal ended the process; sends it signal `number` once `when()` is true."""
        if number is not None:
            try:
                wait_for(lambda: when() or "Traceback" in self.output, seconds=600)
            finally:  # nothing is left running
                os.kill(self.pid, number)
        return lab().wait(self.pid)


class Stage(NamedTuple):
    """One of the processes that a run took: its exit code, what it said, the newest checkpoint when it ended."""

    code: int
    output: str
    saved: int


class Trained(NamedTuple):
    """A finished run in `folder`/run; train.json is gone. To be read: `copy_of_trained` is to be changed."""

    folder: pathlib.Path
    killed: Stage
    interrupted: Stage
    finished: Stage

    @property
    def model_dir(self):
        return self.folder / "run"


@functools.cache
def trained():
    """The job killed by `kill -9`, started again and stopped by Ctrl-C, started again and done."""
    folder = shared.made_once("job", _train)
    stages = json.loads((folder / "stages.json").read_text())
    return Trained(folder, **{name: Stage(**stage) for name, stage in stages.items()})


def copy_of_trained(folder):
    """`trained()` moved to a new folder, with its data: nothing in it leads back."""
    job = trained()
    shutil.copytree(job.folder, folder)
    config = pathlib.Path(folder, "run", "config.gin")
    config.write_text(config.read_text().replace(str(job.folder.resolve()), str(folder)))
    return job._replace(folder=pathlib.Path(folder))


def _train(folder):
    write_job(folder)
    words = train_words("", "run", "Run.checkpoint_seconds = 0", f"Run.evaluate_every = {SCORED_AT}")

    def stage(name, *ending):
        process = Process(words, folder / f"{name}.log", folder)
        return Stage(process.end(*ending), process.output, saved_step(folder / "run"))

    killed = stage("killed", signal.SIGKILL, lambda: saved_step(folder / "run") >= 5)
    interrupted = stage("interrupted", signal.SIGINT, lambda: saved_step(folder / "run") > killed.saved + 2)
    stages = {"killed": killed, "interrupted": interrupted, "finished": stage("finished")}
    (folder / "train.json").rename(folder / "nobody looks here.json")
    (folder / "stages.json").write_text(json.dumps({name: stage._asdict() for name, stage in stages.items()}))
