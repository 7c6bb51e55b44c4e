"""Draws docs/quickstart.jpg: six val tiles of the quickstart with the boxes that a run found.

Example: python benchmarks/readme_picture.py --results runs/quickstart/predictions/results.json
"""

from __future__ import annotations

import argparse
import json

import numpy as np
from PIL import Image

from tf_frozen.data.sources.coco_json import CocoJson
from tf_frozen.export.drawing import draw, sheet


def main() -> None:
    """Reads results and annotations, draws, and writes a JPEG."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", required=True)
    parser.add_argument("--output", default="docs/quickstart.jpg")
    parser.add_argument("--score_threshold", type=float, default=0.3)
    args = parser.parse_args()
    with open(args.results, encoding="utf-8") as file:
        rows = [row for row in json.load(file) if row["score"] >= args.score_threshold]
    data = CocoJson("embedded:neon_trees/val.json", "embedded:neon_trees/val")
    pictures = []
    for index, example in enumerate(data.examples[:6]):
        found = [row for row in rows if row["image_id"] == example.image_id]
        x, y, w, h = np.reshape([row["bbox"] for row in found], [-1, 4]).T
        boxes, scores = np.stack([y, x, y + h, x + w], -1), [row["score"] for row in found]
        # No labels: there is one class, and text would hide the crowns.
        pictures.append(draw(data.image(index), boxes, [""] * len(found), scores, example.boxes))
    Image.fromarray(sheet(pictures, 3)).save(args.output, quality=72)


if __name__ == "__main__":
    main()
