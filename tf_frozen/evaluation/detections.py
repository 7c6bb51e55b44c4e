"""From a detector's output on frames to rows that are scored: original pixels, the data set's own ids."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import tensorflow as tf

from tf_frozen.data.annotations import Category, Example
from tf_frozen.evaluation.coco import to_results
from tf_frozen.evaluation.masks import to_rles


def detect_all(
    detect: Callable[[tf.Tensor, tf.Tensor], dict],
    batches: Iterable,
    examples: Sequence[Example],
    categories: Sequence[Category],
) -> list[dict]:
    """Runs `detect` (images, image_size) over evaluation batches; gives COCO-results rows in original pixels.

    Where it finds masks, rows have their run lengths: one image's are full-sized at a time.
    """
    rows = []
    for images, targets in batches:
        found = {name: value.numpy() for name, value in detect(images, targets["image_size"]).items()}
        scales = targets["scale"].numpy()
        for place, index in enumerate(targets["image_index"].numpy()):
            count = found["count"][place]
            ids = [categories[k - 1].id for k in found["classes"][place, :count]]
            boxes, scores = found["boxes"][place, :count] / scales[place], found["scores"][place, :count]
            example, rles = examples[index], None
            if "masks" in found:
                rles = to_rles(found["masks"][place, :count], boxes, example.height, example.width)
            rows += to_results(example.image_id, boxes, scores, ids, rles)
    return rows
