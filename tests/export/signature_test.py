import json

import numpy as np
import tensorflow as tf

from tf_frozen.export import fresh_process
from tf_frozen.export.signature import OUTPUTS, Detections


def found(boxes, scores, classes, **more):
    return Detections(np.float32(boxes).reshape(-1, 4), np.float32(scores), np.int32(classes), (20, 30), **more)


class DetectionsTest(tf.test.TestCase):
    def test_rows_are_left_top_width_height_for_json(self):
        rows = found([[1, 2, 11, 22], [0.5, 0, 1, 4]], [0.5, 0.25], [9, 1]).rows(np.int64(4))
        expected = [
            {"image_id": 4, "category_id": 9, "bbox": [2, 1, 20, 10], "score": 0.5},
            {"image_id": 4, "category_id": 1, "bbox": [0, 0.5, 4, 0.5], "score": 0.25},
        ]
        self.assertEqual(json.loads(json.dumps(rows)), expected)
        self.assertEqual(found([], [], []).rows("a"), [])

    def test_masks_are_those_of_the_image(self):
        (row,) = found([[2, 3, 6, 8]], [0.5], [1], masks=np.ones([1, 4, 4], np.float32)).rows("a")
        self.assertEqual(row["segmentation"]["size"], [20, 30])

    def test_takes_an_image_s_place_count_and_threshold(self):
        batch = {
            "boxes": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
            "scores": np.float32([[0.9, 0.8, 0.7], [0.6, 0.2, 0.9]]),
            "classes": np.int32([[1, 2, 3], [4, 5, 6]]),
            "count": np.int32([3, 2]),
        }
        one = Detections.of(batch, 1, (20, 30), score_threshold=0.3)
        self.assertAllEqual(one.classes, [4])
        self.assertAllEqual(one.boxes, [[12, 13, 14, 15]])
        self.assertIsNone(one.segmentations)

    def test_the_process_that_imports_nothing_goes_by_the_same_names(self):
        with open(fresh_process.__file__, encoding="utf-8") as file:
            source = file.read()
        self.assertIn(f'"{OUTPUTS["count"]}"', source)
        prefixed = {name: f"detection_{name}" for name in OUTPUTS if name != "count"}
        self.assertEqual(OUTPUTS, prefixed | {"count": "num_detections"})
        self.assertIn('key.startswith("detection_")', source)


if __name__ == "__main__":
    tf.test.main()
