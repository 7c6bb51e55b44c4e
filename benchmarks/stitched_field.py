r"""Trains on tiles of 128 × 128 pixels and counts what is found on others, and on the same stitched to one field.

Draws the images itself: bright cells of 9 to 17 pixels on a noisy ground. Three evaluations of one run differ only in
how an image comes into the detector's frame: each tile fitted, the field fitted, the field cut into overlapping tiles.

Example: python benchmarks/stitched_field.py --output runs/stitched
"""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from tf_frozen import cli

SIDE, ROWS, COLUMNS = 128, 2, 4  # of a tile in pixels, and of the field in tiles
TRAIN_TILES = 24
FRAME = 256
FINER = 4  # the factor by which drawings are finer
TILES = ("TILES = @Tiles()", f"Tiles.magnification = {FRAME / SIDE}")


def main() -> None:
    """Parses the flags, draws, trains, and prints a line for each way to detect."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("runs/stitched"))
    parser.add_argument("--steps", type=int, default=120)
    args = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    draw_all(args.output)
    run = args.output / "run"
    data = {
        "TRAIN_ANNOTATIONS": "train.json",
        "TRAIN_IMAGES": "",
        "VAL_ANNOTATIONS": "tiles.json",
        "VAL_IMAGES": "",
    }
    params = [f"{name} = {str((args.output / file).absolute())!r}" for name, file in data.items()]
    params += [f"TRAIN_STEPS = {args.steps}", f"FRAME = ({FRAME}, {FRAME})", "RCNN.test_time_augmentation = None"]
    command("train", "--gin_file", "runs/train_on_coco_json.gin", "--model_dir", str(run), params=params)
    field = f"VAL_ANNOTATIONS = {str((args.output / 'field.json').absolute())!r}"
    for what, truth, more in (
        ("tiles, each fitted into the frame", "tiles.json", []),
        ("the field, fitted into the frame", "field.json", [field]),
        ("the field, on overlapping tiles", "field.json", [field, *TILES]),
    ):
        command("evaluate", "--model_dir", str(run), params=more)
        found, wrong, objects = count(args.output / truth, run / "predictions" / "results.json")
        print(f"{what:36} {found} of {objects} found, {wrong} false, at score 0.5 and IoU 0.5")


def command(*words: str, params: list[str]) -> None:
    """Runs tf-frozen with gin bindings."""
    if cli.main([*words, *(word for param in params for word in ("--gin_param", param))]):
        raise SystemExit(f"{' '.join(words)} failed")


def draw_all(folder: Path) -> None:
    """Writes train.json, tiles.json and field.json with their images; the field's pixels and boxes are the tiles'."""
    generator = np.random.default_rng(0)
    train = [draw(generator) for _ in range(TRAIN_TILES)]
    tiles = [draw(generator) for _ in range(ROWS * COLUMNS)]
    corners = [(SIDE * row, SIDE * column) for row in range(ROWS) for column in range(COLUMNS)]
    field = np.zeros([SIDE * ROWS, SIDE * COLUMNS, 3], np.uint8)
    boxes = []
    for (top, left), (pixels, of_tile) in zip(corners, tiles, strict=True):
        field[top : top + SIDE, left : left + SIDE] = pixels
        boxes += [(x + left, y + top, w, h) for x, y, w, h in of_tile]
    folder.mkdir(parents=True, exist_ok=True)
    for name, images in (("train", train), ("tiles", tiles), ("field", [(field, boxes)])):
        write(folder, name, images)


def draw(generator: np.random.Generator) -> tuple[np.ndarray, list[tuple]]:
    """A tile, uint8 [SIDE, SIDE, 3], and the boxes [x, y, width, height] of its cells, which do not touch."""
    canvas = Image.new("L", (SIDE * FINER, SIDE * FINER), 40)
    boxes: list[tuple] = []
    for _ in range(40):
        width, height = generator.uniform(9, 17, 2)
        x, y = generator.uniform(1, SIDE - 1 - np.array([width, height]))
        if all(x > a + w or a > x + width or y > b + h or b > y + height for a, b, w, h in boxes) and len(boxes) < 9:
            boxes.append((x, y, width, height))
            corners = [FINER * value for value in (x, y, x + width, y + height)]
            ImageDraw.Draw(canvas).ellipse(corners, fill=int(generator.integers(110, 200)))
    pixels = canvas.filter(ImageFilter.GaussianBlur(FINER)).resize((SIDE, SIDE), Image.Resampling.BOX)
    noisy = np.asarray(pixels, np.float32)[..., np.newaxis] + generator.normal(0, 12, [SIDE, SIDE, 3])
    return noisy.clip(0, 255).astype(np.uint8), boxes


def write(folder: Path, name: str, images: list[tuple[np.ndarray, list[tuple]]]) -> None:
    """Writes a COCO JSON and its PNG files."""
    document: dict = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "cell"}]}
    for number, (pixels, boxes) in enumerate(images):
        file = f"{name}_{number}.png"
        Image.fromarray(pixels).save(folder / file)
        height, width = pixels.shape[:2]
        document["images"].append({"id": number, "file_name": file, "height": height, "width": width})
        for box in boxes:
            row = {"id": len(document["annotations"]) + 1, "image_id": number, "category_id": 1, "iscrowd": 0}
            document["annotations"].append({**row, "bbox": list(box), "area": box[2] * box[3]})
    (folder / f"{name}.json").write_text(json.dumps(document), encoding="utf-8")


def count(annotations: Path, results: Path) -> tuple[int, int, int]:
    """How many objects are found by detections of score 0.5 and IoU 0.5, how many of these are of none, and objects."""
    truth = json.loads(annotations.read_text())["annotations"]
    rows = sorted(json.loads(results.read_text()), key=lambda row: -row["score"])
    left = {row["id"]: row for row in truth}
    rows = [row for row in rows if row["score"] >= 0.5]
    for row in rows:
        same = [t for t in left.values() if t["image_id"] == row["image_id"] and iou(t["bbox"], row["bbox"]) >= 0.5]
        if same:
            del left[max(same, key=lambda t: iou(t["bbox"], row["bbox"]))["id"]]
    found = len(truth) - len(left)
    return found, len(rows) - found, len(truth)


def iou(a: list[float], b: list[float]) -> float:
    """Intersection over union of two boxes [x, y, width, height]."""
    width, height = (min(a[i] + a[i + 2], b[i] + b[i + 2]) - max(a[i], b[i]) for i in (0, 1))
    both = max(width, 0) * max(height, 0)
    return both / (a[2] * a[3] + b[2] * b[3] - both)


if __name__ == "__main__":
    main()
