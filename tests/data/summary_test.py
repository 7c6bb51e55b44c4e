import json

import tensorflow as tf

from tf_frozen.data.checks.annotations import Place
from tf_frozen.data.sources.coco_json import CocoJson
from tf_frozen.data.summary import summarize, summary_of, table

PLACES = {1: Place("a.jpg", 100, 200), 2: Place("b.jpg", 100, 100), 3: Place("c.jpg", 100, 100)}
CATEGORIES = {1: "apple", 2: "appel", 3: "pear"}


def row(**changes):
    return {"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 20, 20], **changes}


class SummarizeTest(tf.test.TestCase):
    def test_counts(self):
        rows = [row(), row(bbox=[0, 0, 40, 40]), row(category_id=3), row(image_id=2), row(iscrowd=1, image_id=3)]

        found = summarize(rows, PLACES, CATEGORIES)

        self.assertEqual((found.images, found.images_without_boxes, found.boxes, found.crowds), (3, 1, 4, 1))
        self.assertEqual((found.median_per_image, found.most_per_image, found.most_in), (1, 3, "a.jpg"))
        self.assertEqual(found.boxes_of_class, {"apple": 3, "appel": 0, "pear": 1})
        self.assertEqual((found.classes_without_boxes, found.rare_classes), (["appel"], ["pear"]))
        self.assertEqual(found.similar_names, [("apple", "appel")])
        self.assertAllClose(found.sizes, [20, 20, 37])
        self.assertIsNone(found.small_boxes)

    def test_small_boxes_are_those_of_the_network(self):
        rows = [row(), row(image_id=2), row(image_id=2, bbox=[0, 0, 40, 40])]

        # Fitted into 100 x 100 the 200 px wide image is halved.
        self.assertAllClose(summarize(rows, PLACES, CATEGORIES, frame=(100, 100)).small_boxes, 1 / 3)
        # On tiles all have the same magnification, whatever the size of their images.
        found = summarize(rows, PLACES, CATEGORIES, frame=(100, 100), magnification=0.5)
        self.assertAllClose(found.small_boxes, 2 / 3)
        self.assertIn("under 16 px on tiles at magnification 0.5  67%", table({"": found}))

    def test_boxes_of_images_of_unknown_size_are_not_small_or_large(self):
        places = {1: Place("a.jpg", None, None), 2: PLACES[2]}
        found = summarize([row(), row(image_id=2, bbox=[0, 0, 9, 9])], places, CATEGORIES, frame=(100, 100))
        self.assertEqual((found.boxes, found.small_boxes), (2, 1.0))
        self.assertIsNone(summarize([row()], places, CATEGORIES, frame=(100, 100)).small_boxes)

    def test_areas_that_are_not_the_objects(self):
        areas = [0, 100 * 200, 0.02, 401, 250, 500, None, "9", float("nan")]

        found = summarize([row(area=area) for area in areas], PLACES, CATEGORIES)

        self.assertEqual(found.odd_areas, {"zero": 1, "the image's": 1, "a fraction": 1, "larger": 1})

    def test_rotated_boxes(self):
        angles = [{"rotation": 30.0}, {"rotation": 0.0}, {"rotation": "30"}, {}, [], None]

        self.assertEqual(summarize([row(attributes=value) for value in angles], PLACES, CATEGORIES).rotated, 1)

    def test_more_objects_than_detections(self):
        found = {
            limit: summarize([row(image_id=2)] * 101, PLACES, CATEGORIES, None, limit) for limit in (None, 100, 200)
        }

        self.assertEqual(found[100].crowded_images, 1)
        for summary in found.values():
            self.assertIn("1 image with more than 100 objects, the most 101 in b.jpg", table({"": summary}))
            self.assertIn("COCO's AP counts the best 100 detections", summary.notes[0])
        self.assertIn("no more than 100 detections: raise MOST_DETECTIONS", found[100].notes[0])
        self.assertIn("given up to 200 detections (DETECTIONS)", found[200].notes[0])
        self.assertNotIn("given", found[None].notes[0])
        self.assertEqual(summarize([row(image_id=2)] * 100, PLACES, CATEGORIES, None, 50).notes, [])

    def test_a_long_tail_is_counted_in_images(self):
        places = {number: Place(f"{number}.jpg", 100, 100) for number in range(40)}
        frequent = [row(image_id=number) for number in range(40)]
        for rare, long in ((4, True), (5, False)):
            # Three boxes an image: what counts is how often an image of the class is shown.
            rows = [*frequent, *[row(image_id=number, category_id=3) for number in range(rare)] * 3]
            found = summarize(rows, places, CATEGORIES)
            self.assertEqual(found.images_of_class, {"apple": 40, "appel": 0, "pear": rare})
            self.assertLen(found.training_notes, int(long))
        self.assertEqual(summarize(frequent, places, CATEGORIES).training_notes, [])

        tail = summarize([*frequent, row(category_id=3)], places, CATEGORIES)
        self.assertIn("apple is in 40 images and pear in 1. samplers/repeat_factor.gin", tail.training_notes[0])
        flat = summarize(frequent, places, CATEGORIES)
        for setting in ("RepeatFactor.threshold = 1.0", "samplers/repeat_factor.gin"):
            self.assertIn(setting, table({"train": tail, "val": flat}))
            self.assertNotIn(setting, table({"train": flat, "val": tail}))
        self.assertEqual(json.loads(json.dumps(tail.as_dict()))["training_notes"], tail.training_notes)

    def test_faulty_rows_and_empty_sets_are_no_obstacle(self):
        rows = [None, [], {}, row(bbox=None), row(bbox=[0, 0, 0, 0]), row(image_id=[]), row(category_id=9), row()]
        self.assertEqual(summarize(rows, PLACES, CATEGORIES).boxes, 1)

        self.assertEqual(summarize([row(bbox=[0, 0, 2**31, 10**8])], PLACES, CATEGORIES).sizes, None)

        nothing = summarize([], {}, {})
        self.assertEqual((nothing.boxes, nothing.sizes), (0, None))
        self.assertIn("boxes", table({"": nothing}))

    def test_names_that_are_numbered_are_meant_to_differ(self):
        names = {1: "class 1", 2: "class 2", 3: "bolt m8", 4: "bolts m8"}
        self.assertEqual(summarize([], PLACES, names).similar_names, [("bolt m8", "bolts m8")])


class TableTest(tf.test.TestCase):
    def test_train_and_val_side_by_side(self):
        splits = {
            split: CocoJson(f"embedded:neon_trees/{split}.json", f"embedded:neon_trees/{split}", "header")
            for split in ("train", "val")
        }

        text = table({split: summary_of(data, (400, 400)) for split, data in splits.items()})

        cells = [line.split("  ") for line in text.splitlines()]
        cells = [[cell.strip() for cell in line if cell.strip()] for line in cells]
        self.assertEqual(
            cells,
            [
                ["train", "val"],
                ["images", "42", "9"],
                ["without boxes", "2 of 42"],
                ["boxes", "682", "277"],
                ["an image", "median 16.5, most 46", "median 30, most 46"],
                [
                    "size in px",
                    "median 39.5, 5 % below 15.5, 5 % above 70.9",
                    "median 38, 5 % below 19.5, 5 % above 61.9",
                ],
                ["under 16 px in a frame of 400 × 400", "6%", "1%"],
                ["classes", "1: tree", "1: tree"],
            ],
        )

    def test_a_row_for_whatever_is_odd(self):
        rows = [row(area=0, attributes={"rotation": 9}), row(iscrowd=1)]

        text = table({"": summarize(rows, PLACES, CATEGORIES)})

        for line in (
            "  without boxes              2 of 3",
            "  crowds, not trained on     1",
            "  rotated, trained upright   1",
            "  area that is not the box's  1 zero",
            "classes                       3: apple, appel, pear",
            "  without boxes               2: appel, pear",
            "  with 2 boxes or fewer       1: apple",
            "  with similar names          1: apple / appel",
        ):
            self.assertIn(" ".join(line.split()), [" ".join(of.split()) for of in text.splitlines()])

    def test_many_classes_are_cut(self):
        names = {number: f"{chr(97 + number % 26) * 9}{number}" for number in range(303)}
        text = table({"": summarize([], PLACES, names)})
        self.assertIn("303: aaaaaaaaa0, bbbbbbbbb1, ", text)
        self.assertLess(max(map(len, text.splitlines())), 100)

    def test_all_of_it_is_json(self):
        found = summarize([row(), row(area=0)], PLACES, CATEGORIES).as_dict()
        self.assertEqual(json.loads(json.dumps(found, allow_nan=False))["classes_without_boxes"], ["appel", "pear"])


if __name__ == "__main__":
    tf.test.main()
