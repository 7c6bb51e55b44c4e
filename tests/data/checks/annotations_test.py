import tensorflow as tf

from tf_frozen.data.checks.annotations import Place, check_annotations

PLACES = {1: Place("a.jpg", 100, 200), "x": Place("b.jpg", None, None), "2": Place("c.jpg", 50, 50)}
CATEGORIES = {1: {"name": "tree"}}
GOOD = {"id": 5, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]}


class CheckAnnotationsTest(tf.test.TestCase):
    def faults(self, *rows):
        return list(check_annotations([GOOD, *rows], "train.json", PLACES, CATEGORIES))

    def only(self, **changes):
        """Returns the one fault of GOOD and a second annotation with these changes."""
        (fault,) = self.faults({**GOOD, "id": 6, **changes})
        return fault

    def test_optional_fields_may_be_left_out_or_null(self):
        rows = [
            {**GOOD, "id": "text", "iscrowd": None, "area": None},
            {**GOOD, "id": 0, "iscrowd": True, "area": 0},
        ]

        self.assertEqual(self.faults(*rows), [])

    def test_a_box_fault_names_image_annotation_and_box(self):
        fault = self.only(bbox=[190, 20, 30, 40])

        self.assertEqual(
            (fault.kind, fault.file, fault.image_id, fault.annotation_id, fault.box),
            ("box_outside_image", "a.jpg", 1, 6, [190, 20, 30, 40]),
        )

    def test_segmentations_are_checked_only_where_masks_are_wanted(self):
        whole = {**GOOD, "segmentation": [[1, 2, 4, 2, 4, 6, 1, 6]]}
        rows = [whole, {**GOOD, "id": 6}, {**whole, "id": 7, "segmentation": [[90, 90, 99, 90, 99, 99]]}]
        rows += [{**whole, "id": 8, "segmentation": {"size": [100, 200], "counts": "1"}}]

        self.assertEqual(list(check_annotations(rows, "train.json", PLACES, CATEGORIES)), [])
        faults = list(check_annotations(rows, "train.json", PLACES, CATEGORIES, masks=True))
        self.assertEqual(
            [(fault.kind, fault.file, fault.annotation_id, fault.box) for fault in faults],
            [
                ("missing_segmentation", "a.jpg", 6, [1, 2, 3, 4]),
                ("segmentation_outside_box", "a.jpg", 7, [1, 2, 3, 4]),
                ("malformed_segmentation", "a.jpg", 8, [1, 2, 3, 4]),
            ],
        )

    def test_a_faulty_box_is_one_fault_whatever_its_segmentation(self):
        rows = [GOOD | {"bbox": None}]
        faults = list(check_annotations(rows, "train.json", PLACES, CATEGORIES, masks=True))
        self.assertEqual([fault.kind for fault in faults], ["malformed_box"])

    def test_a_box_on_an_image_of_unknown_size_is_checked_by_itself(self):
        self.assertEqual(self.faults({**GOOD, "id": 6, "image_id": "x", "bbox": [9e5, 0, 1, 1]}), [])
        self.assertEqual(self.only(image_id="x", bbox=[9e5, 0, 0, 1]).kind, "box_without_area")

    def test_unknown_image_is_told_with_the_json_as_file(self):
        fault = self.only(image_id=99)

        self.assertEqual((fault.kind, fault.file), ("unknown_image_id", "train.json"))
        self.assertEqual(fault.message, "no image has the id 99")

    def test_an_id_of_the_other_type_is_hinted_at(self):
        self.assertIn("'1', a text; but one has the id 1, a number", self.only(image_id="1").message)
        self.assertIn("2, a number; but one has the id '2', a text", self.only(image_id=2).message)
        self.assertIn("'1', a text; but one has the id 1, a number", self.only(category_id="1").message)

    def test_ids_that_can_be_no_ids(self):
        for value in (None, [1], {}, 1.5, True):
            self.assertEqual(self.only(image_id=value).kind, "unknown_image_id", value)
            self.assertEqual(self.only(category_id=value).kind, "unknown_category_id", value)

    def test_malformed(self):
        for changes in (
            {"id": None},
            {"id": [1]},
            {"iscrowd": 2},
            {"iscrowd": "no"},
            {"area": "9"},
            {"area": -1},
        ):
            self.assertEqual(self.only(**changes).kind, "malformed_annotation", changes)
        (fault,) = self.faults([1, 2, 3, 4])
        self.assertEqual((fault.kind, fault.message), ("malformed_annotation", "annotations[1] is [1, 2, 3, 4]"))

    def test_missing_fields_are_told_once(self):
        (fault,) = self.faults({"bbox": [1, 2, 3, 4]})

        self.assertEqual(fault.message, "annotations[1] has no usable 'image_id', 'category_id', 'id'")

    def test_duplicate_id(self):
        fault = self.only(id=5)

        self.assertEqual((fault.kind, fault.annotation_id, fault.file), ("duplicate_annotation_id", 5, "a.jpg"))

    def test_one_annotation_can_have_several_faults(self):
        faults = self.faults({**GOOD, "category_id": 9, "bbox": [1, 2, 0, 4]})

        self.assertCountEqual(
            [fault.kind for fault in faults],
            ["unknown_category_id", "box_without_area", "duplicate_annotation_id"],
        )


class CheckTogetherTest(tf.test.TestCase):
    def only(self, rows):
        (fault,) = check_annotations(rows, "train.json", PLACES, CATEGORIES)
        return fault.kind, fault.file, fault.message

    def test_no_boxes(self):
        self.assertEqual(self.only([]), ("no_boxes", "train.json", "there is no annotation"))

    def test_nothing_but_crowds(self):
        self.assertIn("all 1 annotations are crowds", self.only([{**GOOD, "iscrowd": 1}])[2])

    def test_fractions_in_place_of_pixels(self):
        kind, _, message = self.only([{**GOOD, "bbox": [0.2, 0.3, 0.5, 0.5]}])

        self.assertEqual((kind, message[:11]), ("normalised_boxes", "all 1 boxes"))


if __name__ == "__main__":
    tf.test.main()
