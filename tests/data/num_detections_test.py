import json
import tempfile
from pathlib import Path

import numpy as np
import tensorflow as tf

from tf_frozen.data.num_detections import detections_for, most_objects, num_detections
from tf_frozen.errors import ConfigError, DataError


def rows_at(*centres, image_id=1, **more):
    return [{"image_id": image_id, "category_id": 1, "bbox": [x - 2, y - 2, 4, 4], **more} for y, x in centres]


class NumDetectionsTest(tf.test.TestCase):
    def file(self, rows):
        path = Path(self.enter_context(tempfile.TemporaryDirectory())) / "train.json"
        path.write_text(json.dumps({"images": [], "annotations": rows, "categories": []}))
        return str(path)

    def test_half_as_many_again_in_hundreds_within_limits(self):
        wanted = {0: 100, 66: 100, 67: 200, 133: 200, 134: 300, 600: 900, 667: 1000, 3000: 1000}
        self.assertEqual({count: detections_for(count) for count in wanted}, wanted)
        self.assertEqual([detections_for(3000, most=5000), detections_for(10, least=30, most=50)], [4500, 50])

    def test_of_files(self):
        self.assertEqual(num_detections("embedded:neon_trees/train.json"), 100)
        crowd = rows_at(*[(9, 9)] * 500)
        path = self.file(crowd + rows_at((9, 9), image_id=2))
        self.assertEqual([num_detections(path), num_detections(path, most=300)], [800, 300])
        with self.assertRaisesRegex(DataError, "nowhere.json"):
            num_detections("nowhere.json")
        for limits, message in (
            ({"least": 0}, "num_detections.least is 0; it must be an integer from 1 to "),
            ({"most": 2.5}, "num_detections.most is 2.5; it must be an integer from 1 to "),
            ({"least": 300, "most": 200}, "num_detections.most is 200, which is below num_detections.least, 300"),
        ):
            with self.assertRaisesRegex(ConfigError, message):
                num_detections(path, **limits)

    def test_the_objects_of_a_tile(self):
        field = [(y, x) for y in range(0, 1000, 10) for x in range(0, 1000, 10)]  # 10,000 objects in an image
        path = self.file(rows_at(*field))
        self.assertEqual(num_detections(path, most=10**5), 15000)
        # 100 objects in a tile of 100 x 100 pixels, and no more than 169 in 125 x 125.
        self.assertBetween(num_detections(path, frame=(100, 100)), 200, 300)
        self.assertBetween(num_detections(path, frame=(200, 100), magnification=2.0), 100, 200)


class MostObjectsTest(tf.test.TestCase):
    def test_crowds_and_faulty_rows_do_not_count(self):
        rows = rows_at((5, 5), (6, 6)) + rows_at((5, 5), iscrowd=1) + rows_at((5, 5), image_id="a")
        faulty = [None, {}, {"image_id": 1, "bbox": [0, 0, 0, 9]}, {"image_id": 1, "bbox": [0, 0, float("nan"), 9]}]
        self.assertEqual(most_objects(rows + faulty), 2)
        self.assertEqual(most_objects([]), 0)
        self.assertEqual(most_objects([], (10, 10)), 0)

    def test_no_window_has_more_than_the_bound(self):
        rng = np.random.default_rng(0)
        points = np.concatenate([rng.uniform(0, 500, [200, 2]), rng.normal(250, 20, [100, 2])])
        bound = most_objects(rows_at(*points.tolist()), (60, 90))
        starts = points[:, np.newaxis] - [[0, 0], [60, 90], [60, 0], [0, 90], [30, 45]]
        inside = (points - starts.reshape([-1, 1, 2]) >= 0) & (points - starts.reshape([-1, 1, 2]) < [60, 90])
        most = inside.all(-1).sum(-1).max()
        self.assertBetween(bound, most, 1.5 * most)
        self.assertLess(bound, len(points))


if __name__ == "__main__":
    tf.test.main()
