import json
import os

import tensorflow as tf

from tf_frozen.data.sources import coco_file
from tf_frozen.errors import DataError

EMPTY = {"images": [], "annotations": [], "categories": []}


class ReadTest(tf.test.TestCase):
    def write(self, contents):
        path = os.path.join(self.get_temp_dir(), "annotations.json")
        with open(path, "wb") as file:
            file.write(contents if isinstance(contents, bytes) else json.dumps(contents).encode())
        return path

    def fault(self, contents):
        path = self.write(contents)
        with self.assertRaises(DataError) as caught:
            coco_file.read(path)
        (fault,) = caught.exception.faults
        self.assertEqual(fault.file, path)
        return fault

    def test_broken_json_tells_line_and_column(self):
        fault = self.fault(b'{\n "images": [],\n "annotations": [1 2]\n}')

        self.assertEqual(fault.kind, "broken_json")
        self.assertIn("line 3, column 20, near", fault.message)

    def test_a_file_cut_off_anywhere_is_said_to_be(self):
        whole = json.dumps({**EMPTY, "images": [{"id": 1, "file_name": "a.jpg"}]}).encode()
        for length in (1, 5, 20, 30, len(whole) - 1):
            fault = self.fault(whole[:length])
            self.assertEqual(fault.kind, "broken_json")
            self.assertIn("cut off", fault.message)

    def test_no_text_at_all(self):
        self.assertIn("is empty", self.fault(b" \n").message)
        self.assertIn("byte 0xe9 at line 2, column 3", self.fault(b'{\n "\xe9": 1}').message)
        self.assertEqual(self.fault(b"[" * 100_000).kind, "broken_json")
        self.assertEqual(self.fault(b"1" * 5000).kind, "broken_json")

    def test_structure_that_is_not_coco(self):
        for contents, hint in [
            ([], "a list at its top"),
            ([{"image_id": 1, "score": 0.5}], "looks like detection results"),
            (3, "holds a int at its top"),
            (
                {"images": [], "labels": []},
                "no 'annotations' and no 'categories'; its keys are: 'images', 'labels'",
            ),
            ({**EMPTY, "images": {"1": "a.jpg"}}, "something else than a list under 'images'"),
        ]:
            fault = self.fault(contents)
            self.assertEqual(fault.kind, "not_coco")
            self.assertIn(hint, fault.message)

    def test_missing_file_and_folder_in_its_place(self):
        for path in (os.path.join(self.get_temp_dir(), "none.json"), self.get_temp_dir()):
            with self.assertRaises(DataError) as caught:
                coco_file.read(path)
            self.assertEqual([fault.kind for fault in caught.exception.faults], ["missing_json"])

    def test_byte_order_marks_are_read(self):
        for encoding in ("utf-8-sig", "utf-16"):
            self.assertEqual(coco_file.read(self.write(json.dumps(EMPTY).encode(encoding))), EMPTY)

    def test_parses_once_until_the_file_changes(self):
        path = self.write(EMPTY)
        first = coco_file.read(path)

        self.assertIs(coco_file.read(path), first)
        self.write({**EMPTY, "images": [{"id": 1}]})
        self.assertLen(coco_file.read(path)["images"], 1)


if __name__ == "__main__":
    tf.test.main()
