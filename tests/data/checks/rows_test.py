import tensorflow as tf

from tf_frozen.data.checks.rows import check_categories, check_images


class CheckCategoriesTest(tf.test.TestCase):
    def kinds(self, rows):
        return [fault.kind for fault in check_categories(rows, "train.json")]

    def test_good_ids_and_names(self):
        self.assertEqual(self.kinds([{"id": 0, "name": "a"}, {"id": 90, "name": "b"}, {"id": 7, "name": 3}]), [])

    def test_none_at_all(self):
        self.assertEqual(self.kinds([]), ["no_categories"])

    def test_malformed(self):
        for row in (
            "tree",
            {"name": "tree"},
            {"id": "1", "name": "tree"},
            {"id": True, "name": "tree"},
            {"id": 2**31, "name": "tree"},
            {"id": 1},
            {"id": 1, "name": " "},
            {"id": 1, "name": "half \ud83d"},
        ):
            self.assertEqual(self.kinds([row]), ["malformed_category"], row)

    def test_duplicate_id(self):
        rows = [{"id": 1, "name": "tree"}, {"id": 2, "name": "shrub"}, {"id": 1, "name": "rock"}]

        self.assertEqual(self.kinds(rows), ["duplicate_category_id"])

    def test_one_name_twice_is_a_fault_and_nearly_one_a_warning(self):
        rows = [{"id": number, "name": name} for number, name in enumerate(["tree", "tree", " Tree", "trees", "three"])]

        twice, near = check_categories(rows, "train.json")

        self.assertEqual((twice.kind, twice.is_warning), ("duplicate_category_name", False))
        self.assertEqual(twice.message, "the categories 0 and 1 have the name 'tree'")
        self.assertEqual((near.kind, near.is_warning), ("similar_category_names", True))
        self.assertEqual(near.message, "the categories 0 and 2 have the names 'tree' and ' Tree'")


class CheckImagesTest(tf.test.TestCase):
    def faults(self, *rows):
        return list(check_images(rows, "train.json"))

    def kinds(self, *rows):
        return [fault.kind for fault in self.faults(*rows)]

    def test_numbers_and_texts_are_ids_and_differ(self):
        rows = [{"id": number, "file_name": "a.jpg"} for number in (0, 1, "1", "tile/7", -3)]

        self.assertEqual(self.kinds(*rows), [])

    def test_sizes_may_be_left_out_or_be_whole_floats(self):
        for sides in ({}, {"width": None, "height": None}, {"width": 640.0, "height": 480}):
            self.assertEqual(self.kinds({"id": 1, "file_name": "a.jpg", **sides}), [])

    def test_none_at_all(self):
        self.assertEqual(self.kinds(), ["no_images"])

    def test_malformed(self):
        good = {"id": 1, "file_name": "a.jpg", "width": 4, "height": 4}
        for row in (
            None,
            ["a.jpg"],
            {"file_name": "a.jpg"},
            {**good, "id": None},
            {**good, "id": [1]},
            {**good, "id": 1.5},
            {**good, "id": 10**400},
            {**good, "id": "half \ud83d"},
            {**good, "file_name": "half \ud83d"},
            {**good, "file_name": "a\0.jpg"},
            {**good, "file_name": ""},
            {**good, "file_name": 7},
            {**good, "width": 0},
            {**good, "height": -4},
            {**good, "height": "4"},
            {**good, "width": 4.5},
            {**good, "width": float("nan")},
        ):
            (fault,) = self.faults(row)
            self.assertEqual(fault.kind, "malformed_image", row)
            self.assertStartsWith(fault.message, "images[0] ")

    def test_every_repetition_of_an_id_is_a_fault_that_names_both_files(self):
        rows = [{"id": "a", "file_name": f"{name}.jpg"} for name in "xyz"]

        faults = self.faults(*rows)

        self.assertEqual([fault.kind for fault in faults], ["duplicate_image_id"] * 2)
        self.assertEqual(faults[1].message, "'x.jpg' and 'z.jpg' have the same id 'a'")


if __name__ == "__main__":
    tf.test.main()
