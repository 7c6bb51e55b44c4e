"""Feeds mutated annotations and results to the code that reads them: python -m tests.data.annotation_fuzz FIRST COUNT

Prints the number of each case before it runs, so that what crashes the process can be found, and stops with a traceback
at whatever is neither a success nor a UserError.
"""

import json
import os
import random
import signal
import sys
import tempfile

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from tf_frozen.data.checks.inspection import inspect
from tf_frozen.data.faults import describe
from tf_frozen.data.segmentations import box_mask
from tf_frozen.data.sources import coco_file
from tf_frozen.data.sources.coco_json import CocoJson
from tf_frozen.data.suggestion import suggest_for
from tf_frozen.data.summary import summarize, table
from tf_frozen.errors import UserError
from tf_frozen.evaluation import coco, coco_reasons, report

HEIGHT, WIDTH = 30, 40
NASTY = [
    *(None, True, False, 0, 1, -1, 2, 3, 0.5, -0.0, 1e8, 1e-30, 1e300, -1e308, float("nan"), float("inf")),
    *(2**31, 2**32 + 1, 2**63, -(2**63) - 1, 10**309, 10**400, 65_536, 100_000, 1e6),
    *(
        "",
        " ",
        "1",
        "2",
        "a.png",
        "../a.png",
        "/",
        "\0",
        "\ud83d",
        "é",
        "é" * 5000,
        "x" * 100_000,
        "%",
        "%00",
        "C:\\a.png",
    ),
    *("04Z1", "PPPP", "o" * 50, "0" * 5, "zzz", "ÿÿ", "~" * 9),
    *([], [[]], [[[]]], {}, {"id": 1}, [1, 2, 3, 4], [0, 0, 1, 1], [0.1] * 4, [1e8] * 4, [[1, 1, 9, 1, 9, 9]]),
    *([[1, 1, 1e8, 1, 9, 9]], [[5.0] * 6], [[0, 0, 1e-9, 0, 0, 1e-9]], {"size": [30, 40], "counts": []}),
    *({"size": [30, 40], "counts": "0"}, {"size": [2**31, 2**31], "counts": [2**62]}, {"counts": 1}, {"size": None}),
]


def deep(levels):
    value = []
    for _ in range(levels):
        value = [value]
    return value


def documents():
    """Returns ground truth of two images, polygons and RLE, and results for it."""
    shape = np.zeros([HEIGHT, WIDTH], np.uint8, order="F")
    shape[5:15, 10:30] = 1
    rle = coco_mask.encode(shape)
    coded = {"size": [HEIGHT, WIDTH], "counts": rle["counts"].decode()}
    runs = {"size": [HEIGHT, WIDTH], "counts": [305, *([10, 20] * 19), 10, 315]}
    segmentations = [[[10, 5, 30, 5, 30, 15, 10, 15]], coded, runs]
    rows = [
        {
            "id": k,
            "image_id": 1 + k % 2,
            "category_id": 1 + k % 2,
            "bbox": [10, 5, 20, 10],
            "segmentation": segmentation,
        }
        for k, segmentation in enumerate(segmentations)
    ]
    truth = {
        "images": [{"id": k, "file_name": f"{k}.png", "width": WIDTH, "height": HEIGHT} for k in (1, 2)],
        "categories": [{"id": 1, "name": "tree"}, {"id": 2, "name": "rock"}],
        "annotations": [
            {**row, "area": 200, "iscrowd": int(row["id"] == 2), "attributes": {"rotation": 0}} for row in rows
        ],
    }
    return truth, [{**row, "score": 0.5 + 0.1 * k} for k, row in enumerate(rows)]


def mutated(value, chance, nasty):
    """Returns a copy of a JSON value in which each part is replaced, dropped or doubled with this chance."""
    if chance.random() < 0.008:
        return chance.choice(nasty)
    if isinstance(value, dict):
        items = [(key, mutated(item, chance, nasty)) for key, item in value.items() if chance.random() > 0.003]
        return dict(items)
    if isinstance(value, list):
        items = [mutated(item, chance, nasty) for item in value if chance.random() > 0.003]
        return items + items[:1] if chance.random() < 0.02 else items
    if isinstance(value, (int, float)) and chance.random() < 0.01:
        return value * chance.choice([-1, 0.01, 1.5, 1000])
    return value


def encoded(value, chance):
    """Returns the JSON text of a value, in some cases with a few bytes changed."""
    text = json.dumps(value).encode(chance.choice(["utf-8"] * 6 + ["utf-8-sig", "utf-16", "utf-32"]))
    if chance.random() < 0.15:
        text = bytearray(text)
        for _ in range(chance.randint(1, 4)):
            place = chance.randrange(len(text))
            text[place : place + chance.choice([0, 1, 1, 5])] = bytes([chance.randrange(256)])
        return bytes(text[: chance.choice([len(text), len(text), chance.randrange(len(text))])])
    return text


def check_data(path, folder):
    """Does what check-data and training do with annotations, up to the masks of each object."""
    for masks in (False, True):
        found = inspect(path, folder, "header", masks, clip_boxes=masks)
        text = describe(found.faults + found.warnings, 20)
        text += table({"": summarize(found.document.get("annotations", []), found.places, found.categories)})
        text += str(None if found.faults else suggest_for(found.document["annotations"], found.places))
        text += json.dumps([fault.as_dict() for fault in found.faults], allow_nan=False, indent=1)
        text.encode("utf-8")
        coco_file.read(path)
        data = CocoJson(path, folder, "header", masks=masks, clip_boxes=masks, drop_faulty_boxes=True)
        for example in data.examples if masks else ():
            for segmentation, box in zip(example.segmentations, example.boxes, strict=True):
                box_mask(segmentation, box, example.height, example.width, 28)
        coco.score(data.ground_truth, [], masks)


def score(truth_path, results_path):
    """Does what the command score does."""
    truth, results = coco_file.read(truth_path), coco_file.load(results_path)
    for masks in (False, True):
        metrics, per_class = coco.evaluate(truth, results, masks)
        report.table(metrics, per_class).encode("utf-8")
        " ".join(coco_reasons.check_conventions(truth, results) + coco_reasons.reasons(truth, results)).encode("utf-8")


def run(number, folder):
    """Runs one case; returns whether all of it succeeded."""
    chance = random.Random(number)
    nasty = [*NASTY, deep(30), deep(900)]
    truth, results = documents()
    truth_path, results_path = os.path.join(folder, "truth.json"), os.path.join(folder, "results.json")
    scores = number % 2
    truth = mutated(truth, chance, nasty) if not scores or chance.random() < 0.3 else truth
    results = mutated(results, chance, nasty)
    for path, value in ((truth_path, truth), (results_path, results)):
        with open(path, "wb") as file:
            file.write(encoded(value, chance))
    try:
        score(truth_path, results_path) if scores else check_data(truth_path, folder)
    except UserError as error:
        str(error).encode("utf-8")
        return False
    return True


def main(first, count):
    with tempfile.TemporaryDirectory() as folder:
        for number in (1, 2):
            Image.new("RGB", [WIDTH, HEIGHT]).save(os.path.join(folder, f"{number}.png"))
        good = 0
        for number in range(first, first + count):
            print(f"case {number}", flush=True)
            signal.alarm(60)
            good += run(number, folder)
        print(f"{good} of {count} cases were good")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
