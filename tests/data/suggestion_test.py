import json
import pathlib

import gin
import numpy as np
import tensorflow as tf

import tf_frozen.training.run  # noqa: F401  so that gin knows what the files bind
from tf_frozen.config.computed import pin_computed
from tf_frozen.config.load import load_config
from tf_frozen.config.record import config_of, save_config
from tf_frozen.data.checks.inspection import inspect
from tf_frozen.data.suggestion import suggest, suggest_for, suggested_anchor_scale, suggested_frame
from tf_frozen.detectors.tiles import Tiles
from tf_frozen.errors import ConfigError, DataError
from tf_frozen.heads.dense_head import DenseHead
from tf_frozen.heads.region_proposal import RegionProposal

TREES = ("embedded:neon_trees/train.json", "embedded:neon_trees/train")
RUN = "runs/train_on_coco_json.gin"


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
        self.assertEqual(suggestion.gin_params[1:], ["ANCHOR_SCALE = 4.0"])
        crowd = [{**row, "iscrowd": 1} for row in found.document["annotations"]]
        self.assertIsNone(suggest_for(crowd, found.places))

    def test_rows_that_are_faulty_do_not_count(self):
        places = inspect(*TREES, "header").places
        number = next(iter(places))
        row = {"image_id": number, "bbox": [0, 0, 60, 60]}
        faulty = [None, {}, {**row, "bbox": [0, 0, 1, 0]}, {**row, "image_id": [1]}, {**row, "image_id": "none"}]
        self.assertEqual(suggest_for([*faulty, row], places), suggest_for([row], places))


def write(folder, *sides, sized=True):
    """Writes a COCO JSON of ten boxes a side on one embedded image of 400 × 400 pixels; its path, and the folder."""
    size = {"height": 400, "width": 400} if sized else {}
    rows = [{"image_id": 1, "category_id": 1, "bbox": [0, 0, side, side]} for side in sides for _ in range(10)]
    content = {
        "images": [{"id": 1, "file_name": "train_0000_0000.jpg", **size}],
        "annotations": [{"id": index, **row} for index, row in enumerate(rows)],
        "categories": [{"id": 1, "name": "tree"}],
    }
    path = pathlib.Path(folder, "train.json")
    path.write_text(json.dumps(content))
    return str(path), "embedded:neon_trees/train"


class FitToBoxesTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.addCleanup(gin.clear_config)

    def load(self, annotations, images, *params, file=RUN):
        paths = {"ANNOTATIONS": annotations, "IMAGES": images}
        data = [f"{split}_{macro} = {path!r}" for split in ("TRAIN", "VAL") for macro, path in paths.items()]
        load_config([file, "datasets/fit_to_boxes.gin"], [*data, *params])

    def values(self):
        return gin.query_parameter("FRAME/gin.macro.value"), gin.query_parameter("ANCHOR_SCALE/gin.macro.value")

    def test_computes_what_is_suggested(self):
        found = inspect(*TREES, "header")
        suggestion = suggest_for(found.document["annotations"], found.places)
        frame = suggested_frame(*TREES)
        self.assertEqual(frame, (suggestion.frame, suggestion.frame))
        self.assertEqual(suggested_anchor_scale(*TREES, frame), suggestion.anchor_scale)

    def test_sizes_that_the_json_leaves_out_are_those_of_the_images(self):
        data = write(self.get_temp_dir(), 10, sized=False)
        self.assertEqual(suggested_frame(*data), (960, 960))  # 24 / 10 · 400

    def test_anchors_follow_the_scale_that_boxes_are_shown_at(self):
        data = write(self.get_temp_dir(), 20)
        self.assertEqual(suggested_anchor_scale(*data, (480, 640)), 4.0)  # 24 px ≥ 32 / √2
        self.assertEqual(suggested_anchor_scale(*data, (400, 640)), 2.0)
        self.assertEqual(suggested_anchor_scale(*data, (400, 400), Tiles(magnification=3.0)), 4.0)

    def test_what_can_not_be_fitted(self):
        with self.assertRaisesRegex(ConfigError, "suggested_frame.tiles is not None.*FRAME = "):
            suggested_frame(*TREES, tiles=Tiles())
        with self.assertRaisesRegex(ConfigError, "train.json has no boxes whose sizes FRAME can follow"):
            suggested_frame(*write(self.get_temp_dir()))
        with self.assertRaisesRegex(DataError, "nowhere.json"):
            suggested_frame("nowhere.json", "nowhere")

    def test_a_run_keeps_the_values_that_it_began_with(self):
        folder = self.get_temp_dir()
        self.load(*write(folder, 5))
        with self.assertLogs("tf_frozen", "INFO") as logs:
            pin_computed()
        self.assertEqual(self.values(), ((1024, 1024), 2.0))
        self.assertIn("FRAME = (1024, 1024)", logs.output[0])
        save_config(folder)
        saved = pathlib.Path(folder, "config.gin").read_text()
        self.load(*write(folder, 100))
        with self.assertLogs("tf_frozen", "INFO") as logs:
            pin_computed(saved.splitlines())
        self.assertEqual(self.values(), ((1024, 1024), 2.0))
        self.assertIn("ANCHOR_SCALE = 2.0  # as this run began", logs.output[0])
        pathlib.Path(folder, "train.json").unlink()
        load_config([config_of(folder)])
        self.assertEqual(self.values(), ((1024, 1024), 2.0))

    def test_anchors_of_each_head_follow(self):
        for file, head in ((RUN, RegionProposal), ("runs/small_retinanet.gin", DenseHead)):
            with self.subTest(file):
                self.load(*write(self.get_temp_dir(), 5), file=file)
                pin_computed()
                self.assertEqual(head().anchors.scale, 2.0)

    def test_a_number_wins_and_anchors_follow_it(self):
        self.load(*write(self.get_temp_dir(), 5), "FRAME = (200, 200)")
        pin_computed()
        self.assertEqual(self.values(), ((200, 200), 1.0))


if __name__ == "__main__":
    tf.test.main()
