import numpy as np
import tensorflow as tf

from tf_frozen.data.checks.inspection import inspect
from tf_frozen.data.suggestion import suggest, suggest_for


def boxes(*sides, count=10):
    return np.repeat(np.array([[side, side] for side in sides], np.float32), count, 0)


def images(width, height, boxes):
    return np.tile(np.float32([width, height]), [len(boxes), 1])


class SuggestionTest(tf.test.TestCase):
    def suggest(self, width, height, *sides):
        found = suggest(boxes(*sides), images(width, height, boxes(*sides)))
        return found.frame, found.anchor_scale

    def test_large_objects_take_the_smallest_frame(self):
        self.assertEqual(self.suggest(4000, 3000, 900, 1200), (320, 4.0))

    def test_small_objects_take_the_frame_that_makes_them_24_pixels(self):
        self.assertEqual(self.suggest(1000, 800, 40, 200, 300), (640, 4.0))  # 24 / 40 · 1000 = 600
        self.assertEqual(self.suggest(800, 1000, 40, 200, 300), (640, 4.0))

    def test_objects_that_no_frame_makes_large_enough_take_smaller_anchors(self):
        self.assertEqual(self.suggest(4000, 4000, 30), (1024, 1.0))  # 7.7 pixels
        self.assertEqual(self.suggest(4000, 4000, 80), (1024, 2.0))  # 20.5 pixels

    def test_small_images_are_enlarged_four_times_at_most(self):
        self.assertEqual(self.suggest(100, 100, 4), (448, 2.0))

    def test_no_boxes_no_suggestion(self):
        self.assertIsNone(suggest(np.zeros([0, 2]), np.zeros([0, 2])))
        self.assertIsNone(suggest_for([], {}))

    def test_of_real_data_as_bindings(self):
        found = inspect("embedded:neon_trees/val.json", "embedded:neon_trees/val")
        suggestion = suggest_for(found.document["annotations"], found.places)
        self.assertEqual(suggestion.gin_params[0], f"FRAME = ({suggestion.frame}, {suggestion.frame})")
        self.assertIn("--gin_param 'RegionProposal.anchor_scale = 4.0'", str(suggestion))
        crowd = [{**row, "iscrowd": 1} for row in found.document["annotations"]]
        self.assertIsNone(suggest_for(crowd, found.places))


if __name__ == "__main__":
    tf.test.main()
