import json
import os

import gin
import numpy as np
import tensorflow as tf
from PIL import Image
from pycocotools.coco import COCO

from tests.data.small_set import TILES, SmallSetTestCase
from tf_frozen.data import images
from tf_frozen.data.annotations import Category, CocoJson, num_classes
from tf_frozen.data.paths import resolve
from tf_frozen.errors import DataError

NEON_VAL = ("embedded:neon_trees/val.json", "embedded:neon_trees/val")


class CocoJsonTest(SmallSetTestCase):
    def source(self, **options):
        return CocoJson(*self.write(), **options)

    def test_embedded_data_agrees_with_pycocotools(self):
        source, coco = CocoJson(*NEON_VAL), COCO(resolve(NEON_VAL[0]))

        self.assertEqual([example.image_id for example in source.examples], list(coco.imgs))
        for example in source.examples:
            rows = [coco.anns[number] for number in example.annotation_ids]
            self.assertEqual(example.annotation_ids, coco.getAnnIds(example.image_id))
            x, y, w, h = np.float32([row["bbox"] for row in rows]).T
            self.assertAllEqual(example.boxes, np.stack([y, x, y + h, x + w], 1))
            self.assertEqual(images.read(example.path).shape, (example.height, example.width, 3))

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

        example = self.source().examples[0]

        self.assertEqual((example.height, example.width, example.orientation), (400, 300, 6))
        self.assertAllEqual(example.boxes, [[340, 10, 400, 40]])
        self.assertEqual(images.read(example.path).shape, (400, 300, 3))

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
        self.assertIn("gone.jpg, image 1: there is no such file", text)
        self.assertIn("... and 40 more", text)
        self.assertIn("tf-frozen check-data --annotations", text)

    def test_faulty_boxes_can_be_left_out(self):
        self.annotation["bbox"] = [1, 2, 0, 4]

        with self.assertLogs("tf_frozen", "WARNING") as logs:
            source = self.source(drop_faulty_boxes=True)

        self.assertIn("Left out 1 of the boxes", logs.output[0])
        self.assertEqual(source.examples[0].annotation_ids, [13])
        self.assertEqual([row["id"] for row in source.ground_truth["annotations"]], [12, 13])

    def test_leaving_out_boxes_hides_no_other_fault_and_leaves_some(self):
        self.annotation.update(bbox=[1, 2, 0, 4], category_id=9)
        with self.assertRaises(DataError) as caught:
            self.source(drop_faulty_boxes=True)
        self.assertEqual([fault.kind for fault in caught.exception.faults], ["unknown_category_id"])

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
        self.assertEqual(num_classes(self.write()[0]), 2)

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
