r"""Trains configurations on three different data sets and prints every score: what a default is chosen by.

The sets are made of what the package embeds, and none is a val split: `trees` holds two columns of the training tiles
out; `fashion` has ten classes with a long tail, sharp boxes and an up side; `cells` are small and dense. Files and
bindings of a configuration come after those that all share:

  python benchmarks/own_data.py --output runs/own --seeds 0 1 2 --gin_param 'TRAIN_STEPS = 300' \
    --config default --config nas_fpn necks/nas_fpn_small.gin --config deeper 'BoxHead.fcs = 3'
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pycocotools.mask
from PIL import Image, ImageDraw, ImageFilter
from quickstart_seeds import NEON_TREES, held_out

from tf_frozen.data.sources.fashion_scenes import compose, cut_outs
from tf_frozen.export.predictor import Predictor

COLUMNS = ("AP", "AP50", "AP75", "AR100", "minutes", "cpu minutes", "cpu seconds an image")
TREE_COLUMNS = ["1519", "1899"]
SCENES = {"train": 300, "val": 100}
TAIL = {"train": 0.6, "val": 0.8}  # a class's share of the one before it; flatter where it is scored, for less noise
TILES = {"train": 40, "val": 20}


def main() -> None:
    """Parses the flags, makes the sets that are missing, trains what is missing, and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("runs/own_data"))
    parser.add_argument("--sets", nargs="+", choices=MAKERS, default=list(MAKERS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--gin_file", default="runs/train_on_coco_json.gin")
    parser.add_argument("--gin_param", action="append", default=[], help="for every configuration")
    parser.add_argument("--config", action="append", nargs="+", metavar="NAME [FILE.gin | BINDING]", required=True)
    args = parser.parse_args()
    print("set", "configuration", "seed", *COLUMNS, sep="\t")
    for name in args.sets:
        data = made(name, args.output / "data" / name)
        for config, *settings in args.config:
            files = [args.gin_file, *(text for text in settings if text.endswith(".gin"))]
            params = [*data, *args.gin_param, *(text for text in settings if not text.endswith(".gin"))]
            rows = []
            for seed in args.seeds:
                rows.append(train(files, [*params, f"SEED = {seed}"], args.output / name / config / str(seed)))
                print(name, config, seed, *(f"{value:.3f}" for value in rows[-1]), sep="\t", flush=True)
            medians = (f"{statistics.median(column):.3f}" for column in zip(*rows, strict=True))
            print(name, config, "median", *medians, sep="\t", flush=True)


def train(files: list[str], params: list[str], model_dir: Path) -> list[float]:
    """Runs `tf-frozen train`, unless that was done before, and gives the figures of the table."""
    result = model_dir.parent / f"{model_dir.name}.json"
    if not result.exists():
        flags = [*(f"--gin_file={file}" for file in files), *(f"--gin_param={param}" for param in params)]
        model_dir.parent.mkdir(parents=True, exist_ok=True)
        before = _processor_seconds()
        with (model_dir.parent / f"{model_dir.name}.log").open("w") as log:
            command = [sys.executable, "-m", "tf_frozen", "train", *flags, f"--model_dir={model_dir}"]
            subprocess.run(command, check=True, stdout=log, stderr=log)
        summary = json.loads((model_dir / "summary.json").read_text(encoding="utf-8"))
        minutes = {"minutes": summary["seconds"] / 60, "cpu minutes": (_processor_seconds() - before) / 60}
        figures = summary["metrics"] | minutes | {"cpu seconds an image": detection_seconds(model_dir)}
        result.write_text(json.dumps([figures[name] for name in COLUMNS]), encoding="utf-8")
    return json.loads(result.read_text(encoding="utf-8"))


def _processor_seconds() -> float:
    """Of all runs so far: what a run costs, however busy the machine is with other things."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def detection_seconds(model_dir: Path) -> float:
    """What the run's SavedModel takes of a processor for each picture that the run has drawn, in the mean."""
    predictor = Predictor(str(model_dir))
    images = [np.asarray(Image.open(path)) for path in sorted((model_dir / "predictions").glob("*.png"))]
    predictor.detect(images[0])  # the first takes longer
    before = time.process_time()
    for image in images:
        predictor.detect(image)
    return (time.process_time() - before) / len(images)


def made(name: str, folder: Path) -> list[str]:
    """The gin bindings of a data set, which is made in `folder` unless it is there."""
    if name == "trees":
        return ["TRAIN_IMAGES = 'embedded:neon_trees/train'", *held_out(TREE_COLUMNS, folder)]
    for split in ("train", "val"):
        if not (folder / f"{split}.json").exists():
            write(folder, split, MAKERS[name](split))
    paths = {"ANNOTATIONS": ".json", "IMAGES": ""}
    return [
        f"{split.upper()}_{macro} = {str(folder / split) + suffix!r}"
        for split in ("train", "val")
        for macro, suffix in paths.items()
    ]


def fashion(split: str) -> Iterator[tuple]:
    """Scenes on crops of the training tiles; train and val have different cut-outs and tiles, of the train half."""
    everything = cut_outs("train")
    own = np.arange(len(everything.images)) % 2 == (split == "val")
    objects = everything._replace(images=everything.images[own], classes=everything.classes[own])
    tiles = sorted((NEON_TREES / "train").glob("*.jpg"))[split == "val" :: 2]
    shares = TAIL[split] ** np.arange(len(objects.names))
    for index in range(SCENES[split]):
        draw = np.random.default_rng([index, split == "val"])
        tile = Image.open(tiles[draw.integers(len(tiles))]).convert("RGB")
        (left, top), side = draw.integers(0, 120, 2), int(draw.integers(180, 280))
        size = tuple(int(length) for length in draw.integers(240, 360, 2))
        background = np.asarray(tile.resize(size, box=(left, top, left + side, top + side * size[1] / size[0] * 0.8)))
        scene = compose(background, objects, shares, (28, 140), 7, [index, split == "val", 1])
        yield scene.image, scene.boxes, [objects.names[label] for label in scene.classes], list(scene.masks)


def cells(split: str) -> Iterator[tuple]:
    """Tiles of 128² pixels with 15 to 45 faint ellipses of 7 to 18 pixels in noise, which touch and overlap."""
    for index in range(TILES[split]):
        draw = np.random.default_rng([index, split == "val", 2])
        canvas, taken, boxes = Image.new("L", (512, 512), 30), np.zeros([128, 128], bool), []
        for _ in range(draw.integers(15, 45)):
            width, height = draw.uniform(7, 18, 2)
            x, y = draw.uniform(0, 128 - width), draw.uniform(0, 128 - height)
            inside = np.s_[int(y) : int(y + height) + 1, int(x) : int(x + width) + 1]
            if taken[inside].mean() < 0.35:
                taken[inside] = True
                outline = [4 * x, 4 * y, 4 * (x + width), 4 * (y + height)]
                ImageDraw.Draw(canvas).ellipse(outline, fill=int(draw.integers(60, 130)))
                boxes.append([x, y, width, height])
        blurred = np.asarray(canvas.filter(ImageFilter.GaussianBlur(3)).resize((128, 128)), np.float32)
        noisy = blurred[..., np.newaxis] * (0.5, 0.4, 1.0) + draw.normal(0, 20, [128, 128, 3])
        yield np.clip(noisy, 0, 255).astype(np.uint8), np.asarray(boxes), ["cell"] * len(boxes), [None] * len(boxes)


def write(folder: Path, split: str, pictures: Iterator[tuple]) -> None:
    """Writes images and their COCO JSON; pictures are (image, boxes [n, 4], class names, masks or None for each)."""
    (folder / split).mkdir(parents=True, exist_ok=True)
    images, annotations = [], []
    for number, (image, boxes, names, masks) in enumerate(pictures, start=1):
        file_name = f"{number:04}.png"
        Image.fromarray(image).save(folder / split / file_name)
        images.append({"id": number, "file_name": file_name, "height": image.shape[0], "width": image.shape[1]})
        for box, label, mask in zip(boxes.tolist(), names, masks, strict=True):
            found = {"image_id": number, "bbox": box, "area": box[2] * box[3], "iscrowd": 0, "label": label}
            annotations.append({"id": len(annotations) + 1, **found, **segmentation(mask)})
    ids = {name: number for number, name in enumerate(sorted({row["label"] for row in annotations}), start=1)}
    rows = [{**row, "category_id": ids[row.pop("label")]} for row in annotations]
    categories = [{"id": number, "name": name} for name, number in ids.items()]
    content = {"images": images, "annotations": rows, "categories": categories}
    (folder / f"{split}.json").write_text(json.dumps(content), encoding="utf-8")


def segmentation(mask: np.ndarray | None) -> dict:
    """The entry 'segmentation' of an annotation, COCO's compressed RLE of mask [h, w] bool; none without a mask."""
    if mask is None:
        return {}
    rle = pycocotools.mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"segmentation": {"size": rle["size"], "counts": rle["counts"].decode("ascii")}}


MAKERS = {"trees": None, "fashion": fashion, "cells": cells}

if __name__ == "__main__":
    main()
