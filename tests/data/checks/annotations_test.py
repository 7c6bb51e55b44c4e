import tensorflow as tf

from tf_frozen.data.checks.annotations import Place, check_annotations

PLACES = {1: Place("a.jpg", 100, 200), "x": Place("b.jpg", None, None), "2": Place("c.jpg", 50, 50)}
CATEGORIES = {1: "tree"}
GOOD = {"id": 5, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]}


class CheckAnnotationsTest(tf.test.TestCase):
    def faults(self, *rows):
        found = check_annotations([GOOD, *rows], "train.json", PLACES, CATEGORIES)
        return [fault for fault in found if not fault.is_warning]

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

        kinds = {fault.kind for fault in check_annotations(rows, "train.json", PLACES, CATEGORIES)}
        self.assertEqual(kinds, {"duplicate_annotation"})
        faults = [
            fault
            for fault in check_annotations(rows, "train.json", PLACES, CATEGORIES, masks=True)
            if not fault.is_warning
        ]
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
        self.assertIn("'1', a str; but one has the id 1, an int", self.only(image_id="1").message)
        self.assertIn("2, an int; but one has the id '2', a str", self.only(image_id=2).message)
        self.assertIn("'1', a str; but one has the id 1, an int", self.only(category_id="1").message)

    def test_a_float_or_a_name_in_place_of_an_id_is_hinted_at(self):
        self.assertIn("1.0, a float; but one has the id 1, an int", self.only(image_id=1.0).message)
        self.assertIn("'b.jpg'; that is the name of the one with the id 'x'", self.only(image_id="b.jpg").message)
        self.assertIn("'tree'; that is the name of the one with the id 1", self.only(category_id="tree").message)

    def test_ids_that_can_be_no_ids(self):
        for value in (None, [1], {}, 1.5, True, 10**400, "\ud800"):
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

        self.assertEqual((kind, message[:12]), ("normalized_boxes", "1 of 1 boxes"))

    def test_boxes_of_another_convention_are_one_fault_each_box_by_itself_is_none(self):
        fractions = [{**GOOD, "id": k, "bbox": [0.1 * k, 0.1, 0.0005, 0.002]} for k in range(9)]
        pixels = [{**GOOD, "id": 9, "bbox": [190, 90, 30, 30]}]
        self.assertEqual(self.only(fractions + pixels)[0], "normalized_boxes")
        self.assertIn("9 of 10 boxes lie between 0 and 1", self.only(fractions + pixels)[2])
        corners = [{**GOOD, "id": k, "bbox": [100 + k, 60 + k, 180 + k, 90 + k]} for k in range(9)]
        self.assertEqual(self.only(corners)[0], "other_box_convention")
        kinds = {fault.kind for fault in check_annotations(corners[:6], "train.json", PLACES, CATEGORIES)}
        self.assertEqual(kinds, {"box_outside_image", "suspected_box_convention"})

    def test_the_same_annotation_twice_is_a_warning_that_names_both(self):
        (twin,) = check_annotations([GOOD, {**GOOD, "id": 8}], "train.json", PLACES, CATEGORIES)
        self.assertEqual((twin.kind, twin.file, twin.annotation_id), ("duplicate_annotation", "a.jpg", 8))
        self.assertStartsWith(twin.message, "annotation 5 has the same")
        self.assertTrue(twin.is_warning)
        for change in ({"image_id": "x"}, {"category_id": 2}, {"bbox": [1, 2, 3, 4.5]}):
            rows = [GOOD, {**GOOD, "id": 8, **change}]
            self.assertEqual(list(check_annotations(rows, "train.json", PLACES, {1: "tree", 2: "rock"})), [])


if __name__ == "__main__":
    tf.test.main()
