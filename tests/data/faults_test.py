import json

import tensorflow as tf

from tf_frozen.data.faults import Fault, describe

TALL = Fault("box_outside_image", "photos/a.jpg", "7", 12, [1.23456, 0, 4, 900], "the box reaches too far")
MISSING = Fault("missing_image", "photos/b.jpg", 8, message="the file does not exist")


class FaultTest(tf.test.TestCase):
    def test_text_names_file_image_annotation_and_box(self):
        self.assertEqual(
            str(TALL), "photos/a.jpg, image 7, annotation 12, box [1.23, 0, 4, 900]: the box reaches too far"
        )
        self.assertEqual(str(MISSING), "photos/b.jpg, image 8: the file does not exist")

    def test_dict_has_the_six_fields_and_advice_in_the_message(self):
        self.assertEqual(
            MISSING.as_dict(),
            {
                "kind": "missing_image",
                "file": "photos/b.jpg",
                "image_id": 8,
                "annotation_id": None,
                "box": None,
                "message": "The file does not exist. Put the file into the folder of images, or correct its file_name.",
            },
        )

    def test_dict_is_strict_json_whatever_the_box_holds(self):
        box = [float("nan"), float("inf"), {"x": -float("inf")}, "4"]
        fault = Fault("malformed_box", "a.jpg", float("nan"), 1, box, "wrong")

        fields = json.loads(json.dumps(fault.as_dict(), allow_nan=False))

        self.assertEqual(fields["box"], [None, None, {"x": None}, "4"])
        self.assertIsNone(fields["image_id"])


class DescribeTest(tf.test.TestCase):
    def test_groups_by_kind_with_advice_once(self):
        lines = describe([TALL, MISSING, TALL]).splitlines()

        self.assertStartsWith(lines[0], "box_outside_image (2): Correct the box")
        self.assertEqual(lines[1:3], [f"  {TALL}", f"  {TALL}"])
        self.assertStartsWith(lines[3], "missing_image (1): ")
        self.assertLen(lines, 5)

    def test_limit_keeps_some_of_every_kind_and_counts_the_rest(self):
        lines = describe([TALL] * 1000 + [MISSING], limit=20).splitlines()

        self.assertEqual(lines.count(f"  {TALL}"), 10)
        self.assertIn("  ... and 990 more", lines)
        self.assertEqual(lines[-1], f"  {MISSING}")

    def test_a_long_malformed_box_is_cut(self):
        fault = Fault("malformed_box", "a.jpg", 1, 1, ["text" * 1000], "wrong")

        self.assertLess(len(str(fault)), 130)


if __name__ == "__main__":
    tf.test.main()
