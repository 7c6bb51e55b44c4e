import math
import unittest
from collections.abc import Hashable

import numpy as np

from tf_frozen.data.checks.annotations import Place, check_annotations
from tf_frozen.data.checks.results import annotation_fault, entry_faults, result_fault

BOX = [1, 2, 3, 4]
PLACES, NAMES = {1: Place("a.jpg", 9, 9)}, {1: "tree"}
# What may be in a JSON, or in rows made in Python, and whether it is an id.
IDS = [
    (0, True),
    (-1, True),
    (2**63 - 1, True),
    (np.int64(4), True),
    ("7", True),
    ("été", True),
    ("", True),
    (1.0, False),
    (1.5, False),
    (math.nan, False),
    (True, False),
    (2**63, False),
    ("\ud800", False),
    ([1], False),
    ({}, False),
]
# Boxes that hold no numbers, whatever they are the boxes of.
BOXES = [None, "1234", 7, [], [1, 2, 3], [1, 2, 3, "4"], [1, 2, 3, True], [1, 2, 3, math.nan], [1, 2, 3, 10**400]]
FIELDS = [{"iscrowd": 2}, {"iscrowd": "no"}, {"iscrowd": []}, {"area": "9"}, {"area": -1}, {"area": math.inf}]


def faults_of_data(**change):
    row = {"id": 1, "image_id": 1, "category_id": 1, "bbox": BOX} | change
    return [fault for fault in check_annotations([row], "x.json", PLACES, NAMES) if not fault.is_warning]


def fault_of_truth(known=1, **change):
    return annotation_fault({"id": 1, "image_id": 1, "category_id": 1, "bbox": BOX} | change, {known}, {1}, {})


def fault_of_result(known=1, **change):
    return result_fault({"image_id": 1, "category_id": 1, "bbox": BOX, "score": 0.5} | change, {known}, {1}, {})


class ResultsTest(unittest.TestCase):
    """What data are trained on, what is scored, and what it is compared with go by the same values."""

    def test_ids(self):
        for value, usable in IDS:
            with self.subTest(value=value):
                hashable = value if isinstance(value, Hashable) else 1
                faults = [
                    faults_of_data(id=value),
                    fault_of_truth(id=value),
                    list(entry_faults("images", [{"id": value}])),
                    fault_of_truth(known=hashable, image_id=value),
                    fault_of_result(known=hashable, image_id=value),
                ]
                self.assertEqual([not fault for fault in faults], [usable] * 5, faults)

    def test_boxes(self):
        for box in BOXES:
            with self.subTest(box=box):
                self.assertTrue(faults_of_data(bbox=box))
                self.assertIn("has bbox", fault_of_truth(bbox=box))
                self.assertEqual(fault_of_truth(bbox=box), fault_of_result(bbox=box))
        for box in (tuple(BOX), np.array(BOX), [1.5, 2, np.float32(3), 4]):
            self.assertFalse(faults_of_data(bbox=box) or fault_of_truth(bbox=box) or fault_of_result(bbox=box), box)

    def test_fields_of_annotations(self):
        for fields in FIELDS:
            with self.subTest(fields=fields):
                (fault,) = faults_of_data(**fields)
                self.assertEqual(fault.message.partition(" ")[2], fault_of_truth(**fields).partition(") ")[2])


if __name__ == "__main__":
    unittest.main()
