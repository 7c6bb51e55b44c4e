import json
import os

import gin
import numpy as np
import tensorflow as tf
from PIL import Image
from pycocotools.coco import COCO

from tests.data.small_set import TILES, SmallSetTestCase
from tf_frozen.data.category import Category
from tf_frozen.data.paths import resolve
from tf_frozen.data.sources.coco_json import CocoJson, num_classes
from tf_frozen.errors import ConfigError, DataError

NEON_VAL = ("embedded:neon_trees/val.json", "embedded:neon_trees/val")


class CocoJsonTest(SmallSetTestCase):
    def source(self, **options):
        return CocoJson(*self.write(), **options)

    def test_embedded_data_agrees_with_pycocotools(self):
        source, coco = CocoJson(*NEON_VAL), COCO(resolve(NEON_VAL[0]))

        self.assertEqual([example.image_id for example in source.examples], list(coco.imgs))
        for index, example in enumerate(source.examples):
            rows = [coco.anns[number] for number in example.annotation_ids]
            self.assertEqual(example.annotation_ids, coco.getAnnIds(example.image_id))
            x, y, w, h = np.float32([row["bbox"] for row in rows]).T
            self.assertAllEqual(example.boxes, np.stack([y, x, y + h, x + w], 1))
            self.assertEqual(source.image(index).shape, (example.height, example.width, 3))

    def test_boxes_are_corners_and_classes_count_by_category_id(self):
        source = self.source()

        first, second = source.examples
        self.assertEqual(source.categories, [Category(3, "shrub"), Category(5, "tree")])
        self.assertAllEqual(first.boxes, [[20, 10, 60, 40], [300, 350.5, 400, 370.75]])
        self.assertAllEqual(first.classes, [2, 2])
        self.assertEqual((first.boxes.dtype, first.classes.dtype, first.crowd.dtype), (np.float32, np.int32, bool))
        self.assertEqual((first.annotation_ids, second.annotation_ids), ([11, 13], [12]))
        self.assertEqual((first.height, first.width, first.orientation), (400, 400, 1))

    def test_a_box_up_to_a_pixel_beyond_is_clipped_but_scored_as_given(self):
        self.annotation["bbox"] = [-1, 390, 20, 11]

        source = self.source()

        self.assertAllEqual(source.examples[0].boxes[0], [390, 0, 400, 19])
        self.assertEqual(source.ground_truth["annotations"][0]["bbox"], [-1, 390, 20, 11])

    def test_boxes_beyond_their_images_can_be_clipped(self):
        self.annotation.update(bbox=[390, -30, 14, 90], area=14 * 90)
        with self.assertRaisesRegex(DataError, "CocoJson.clip_boxes = True"):
            self.source()

        with self.assertLogs("tf_frozen", "WARNING") as logs:
            source = self.source(clip_boxes=True)

        self.assertIn("clipped_box (1)", logs.output[0])
        self.assertIn("30.0 px beyond the top edge", logs.output[0])
        self.assertAllEqual(source.examples[0].boxes[0], [0, 390, 60, 400])
        truth = source.ground_truth["annotations"]
        self.assertEqual((truth[0]["bbox"], truth[0]["area"]), ([390, 0, 10, 60], 600))
        self.assertEqual(truth[1:], self.document["annotations"][1:])
        self.annotation["bbox"] = [400, 20, 14, 40]
        with self.assertRaisesRegex(DataError, "box_outside_image"):
            self.source(clip_boxes=True)

    def test_segmentations_are_kept_where_masks_are_learnt(self):
        for row in self.document["annotations"]:
            x, y, w, h = row["bbox"]
            row["segmentation"] = [[x, y, x + w, y, x + w, y + h]]

        self.assertIsNone(self.source().examples[0].segmentations)
        first, second = self.source(masks=True).examples
        rows = self.document["annotations"]
        self.assertEqual(first.segmentations, [rows[0]["segmentation"], rows[2]["segmentation"]])
        self.assertEqual(second.segmentations, [rows[1]["segmentation"]])

    def test_a_missing_segmentation_is_a_fault_or_left_out(self):
        for row in self.document["annotations"][1:]:
            row["segmentation"] = [[0, 0, 400, 0, 400, 400]]

        with self.assertRaisesRegex(DataError, "annotation 11, box .*there is no segmentation"):
            self.source(masks=True)
        left = self.source(masks=True, drop_faulty_boxes=True)
        self.assertEqual([example.annotation_ids for example in left.examples], [[13], [12]])

    def test_a_fraction_of_the_images_is_the_same_each_time_and_within_a_larger_one(self):
        def ids(**options):
            source = CocoJson("embedded:neon_trees/train.json", "embedded:neon_trees/train", check="header", **options)
            kept = [example.image_id for example in source.examples]
            truth = source.ground_truth
            self.assertEqual([image["id"] for image in truth["images"]], kept)
            self.assertEqual(
                sorted(row["id"] for row in truth["annotations"]),
                sorted(number for example in source.examples for number in example.annotation_ids),
            )
            self.assertEqual(source.categories, [Category(1, "tree")])
            return kept

        whole, quarter, tenth = ids(), ids(fraction=0.25), ids(fraction=0.1)
        self.assertEqual([len(whole), len(quarter), len(tenth)], [42, 10, 4])
        self.assertEqual(quarter, [number for number in whole if number in quarter])
        self.assertContainsSubset(tenth, quarter)
        self.assertEqual(ids(fraction=0.25, seed=0), quarter)
        self.assertNotEqual(ids(fraction=0.25, seed=1), quarter)
        self.assertLen(ids(fraction=1e-6), 1)

    def test_an_impossible_fraction_is_explained(self):
        for fraction in (0, -0.5, 1.5, float("nan"), "0.5", True):
            with self.assertRaisesRegex(ConfigError, "CocoJson.fraction is .*above 0 and up to 1"):
                self.source(fraction=fraction)

    def test_an_image_without_boxes_stays(self):
        self.document["annotations"].pop(1)

        empty = self.source().examples[1]

        self.assertEqual((empty.boxes.shape, empty.classes.shape, empty.crowd.shape), ((0, 4), (0,), (0,)))
        self.assertEqual((empty.boxes.dtype, empty.classes.dtype), (np.float32, np.int32))

    def test_crowds_are_marked(self):
        self.annotation["iscrowd"] = 1

        self.assertAllEqual(self.source().examples[0].crowd, [True, False])

    def test_image_ids_may_be_texts_and_numbers(self):
        self.image["id"] = "tile-1"
        for row in self.document["annotations"][::2]:
            row["image_id"] = "tile-1"

        first, second = self.source().examples

        self.assertEqual((first.image_id, second.image_id), ("tile-1", 2))
        self.assertEqual(first.annotation_ids, [11, 13])

    def test_a_rotated_image_has_boxes_and_size_as_displayed(self):
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.open(self.path(TILES[0])).crop((0, 0, 400, 300)).save(self.path(TILES[0]), exif=exif)
        self.image.update(width=300, height=400)
        self.document["annotations"].pop()
        self.annotation["bbox"] = [10, 340, 30, 60]

        source = self.source()
        (example,) = source.examples[:1]

        self.assertEqual((example.height, example.width, example.orientation), (400, 300, 6))
        self.assertAllEqual(example.boxes, [[340, 10, 400, 40]])
        self.assertEqual(source.image(0).shape, (400, 300, 3))

    def test_ground_truth_has_what_scoring_needs(self):
        for row in [self.image, *self.document["annotations"]]:
            for key in ("width", "height", "area", "iscrowd"):
                row.pop(key, None)
        self.annotation["segmentation"] = [[1, 2, 3, 4, 5, 6]]

        truth = self.source().ground_truth

        self.assertEqual(truth["images"][0], {**self.image, "width": 400, "height": 400})
        self.assertEqual(truth["annotations"][0], {**self.annotation, "iscrowd": 0, "area": 1200})
        self.assertEqual(truth["categories"], self.document["categories"])

    def test_the_error_lists_every_kind_counts_all_and_says_how_to_see_them(self):
        self.document["annotations"] += [
            {"id": number, "image_id": 1, "category_id": 5, "bbox": [0, 0, 0, 9]} for number in range(100, 150)
        ]
        self.image["file_name"] = "gone.jpg"

        with self.assertRaises(DataError) as caught:
            self.source()

        text = str(caught.exception)
        self.assertLen(caught.exception.faults, 51)
        self.assertIn(f"{self.annotations} with the images of {self.folder} has 51 faults.", text)
        self.assertIn("annotation 100, box [0, 0, 0, 9]: the box is 0 px wide and 9 px high", text)
        self.assertIn("gone.jpg, image 1: the file does not exist", text)
        self.assertIn("... and 40 more", text)
        self.assertIn("tf-frozen check-data lists all of them", text)

    def test_faulty_boxes_can_be_left_out(self):
        self.annotation["bbox"] = [1, 2, 0, 4]

        with self.assertLogs("tf_frozen", "WARNING") as logs:
            source = self.source(drop_faulty_boxes=True)

        self.assertIn("Excluded 1 faulty boxes", logs.output[0])
        self.assertEqual(source.examples[0].annotation_ids, [13])
        self.assertEqual([row["id"] for row in source.ground_truth["annotations"]], [12, 13])

    def test_leaving_out_boxes_hides_no_other_fault_and_leaves_some(self):
        self.annotation.update(bbox=[1, 2, 0, 4], category_id=9)
        with self.assertRaises(DataError) as caught:
            self.source(drop_faulty_boxes=True)
        self.assertEqual([fault.kind for fault in caught.exception.faults], ["unknown_category_id"])
        self.annotation["id"] = [1]
        with self.assertRaisesRegex(DataError, "no usable 'id'"):
            self.source(drop_faulty_boxes=True)
        self.annotation["id"] = 11

        self.document["annotations"] = [{**self.annotation, "category_id": 5}]
        with self.assertRaises(DataError) as caught:
            self.source(drop_faulty_boxes=True)
        self.assertEqual([fault.kind for fault in caught.exception.faults], ["box_without_area"])

    def test_made_by_gin_the_error_is_the_same(self):
        os.remove(self.path(TILES[0]))
        annotations, folder = self.write()
        with gin.unlock_config():
            gin.parse_config([f"CocoJson.annotations = '{annotations}'", f"CocoJson.images = '{folder}'"])
        self.addCleanup(gin.clear_config)

        with self.assertRaises(DataError) as caught:
            CocoJson()

        self.assertEqual([fault.kind for fault in caught.exception.faults], ["missing_image"])


class NumClassesTest(SmallSetTestCase):
    def test_counts_the_categories(self):
        self.assertEqual(num_classes(NEON_VAL[0]), 1)
        self.document["categories"].append({"id": 6, "name": "Tree "})
        self.assertEqual(num_classes(self.write()[0]), 3)

    def test_faulty_categories_or_json_are_told(self):
        self.document["categories"].append({"id": 5, "name": "rock"})
        annotations, _ = self.write()
        with self.assertRaisesRegex(DataError, "two categories have the id 5"):
            num_classes(annotations)

        with open(annotations, "w", encoding="utf-8") as file:
            json.dump([], file)
        with self.assertRaisesRegex(DataError, "a list at its top"):
            num_classes(annotations)


if __name__ == "__main__":
    tf.test.main()
