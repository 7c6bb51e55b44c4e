import os
import shutil

import numpy as np
import tensorflow as tf
from PIL import Image

from tests.data.small_set import TILES, SmallSetTestCase
from tf_frozen.data.checks import inspection
from tf_frozen.errors import ConfigError


class CheckTest(SmallSetTestCase):
    def test_a_good_data_set_has_no_fault(self):
        self.assertEqual(self.faults(), [])

    def test_embedded_data_has_no_fault(self):
        for split in ("train", "val"):
            self.assertEqual(inspection.check(f"embedded:neon_trees/{split}.json", f"embedded:neon_trees/{split}"), [])

    def test_missing_image(self):
        os.remove(self.path(TILES[0]))

        fault = self.only_fault("missing_image", check="header")

        self.assertEqual((fault.file, fault.image_id), (self.path(TILES[0]), 1))
        self.assertEqual(fault.message, "the file does not exist")

    def test_missing_image_that_lies_deeper_or_differs_in_case(self):
        os.makedirs(self.path("north"))
        shutil.move(self.path(TILES[0]), self.path("north/" + TILES[0].upper()))

        self.assertEndsWith(
            self.only_fault("missing_image").message,
            f"did you mean {self.path('north/' + TILES[0].upper())}? It differs in the folder and upper and lower case",
        )

    def test_an_image_that_is_found_elsewhere_is_a_warning(self):
        os.makedirs(self.path("north"))
        shutil.move(self.path(TILES[0]), self.path("north"))
        self.image["file_name"] = "C:\\photos\\north\\" + TILES[0]

        found = inspection.inspect(*self.write())

        self.assertEqual((found.faults, found.files[0]), ([], self.path(f"north/{TILES[0]}")))
        self.assertEqual([warning.kind for warning in found.warnings], ["moved_image"])

    def test_a_file_under_two_ids(self):
        self.document["images"][1]["file_name"] = "./" + TILES[0]

        fault = self.only_fault("duplicate_image_file")

        self.assertEqual(
            (fault.file, fault.message), (self.path(TILES[0]), "the file is listed under 2 image ids: [1, 2]")
        )

    def test_truncated_image_is_found_by_decoding_only(self):
        size = os.path.getsize(self.path(TILES[0]))
        os.truncate(self.path(TILES[0]), size // 2)

        self.assertEqual(self.only_fault("truncated_image").file, self.path(TILES[0]))
        self.assertEqual(self.faults("header"), [])

    def test_unreadable_and_sixteen_bit_images_are_told_together(self):
        with open(self.path(TILES[0]), "wb") as file:
            file.write(b"no image")
        Image.fromarray(np.zeros([400, 400], np.uint16)).save(self.path("deep.png"))
        self.document["images"][1]["file_name"] = "deep.png"

        self.assertEqual([fault.kind for fault in self.faults()], ["unreadable_image", "sixteen_bit_image"])

    def test_size_that_differs_from_the_json(self):
        self.image["width"] = 500

        fault = self.only_fault("size_mismatch")

        self.assertEqual(fault.message, "the image is 400 px wide and 400 high, not 500 and 400")

    def test_size_before_rotation_in_the_json(self):
        self.turn(TILES[0], crop=(0, 0, 400, 300), orientation=6)
        self.image.update(width=400, height=300)
        self.document["annotations"] = self.document["annotations"][:2]

        self.assertIn("before EXIF orientation 6", self.only_fault("size_mismatch").message)

    def test_boxes_as_shown_are_no_faults_where_the_json_has_the_size_before_rotation(self):
        self.turn(TILES[0], crop=(0, 0, 400, 300), orientation=6)
        self.image.update(width=400, height=300)
        self.document["annotations"] = self.document["annotations"][:2]
        self.annotation["bbox"] = [10, 350, 30, 40]

        self.only_fault("size_mismatch")

    def test_rotated_image_with_its_displayed_size_is_good(self):
        self.turn(TILES[0], crop=(0, 0, 400, 300), orientation=6)
        self.image.update(width=300, height=400)
        self.document["annotations"] = self.document["annotations"][:2]

        self.assertEqual(self.faults(), [])

    def test_an_image_of_the_wrong_size_does_not_fault_its_boxes_too(self):
        Image.open(self.path(TILES[0])).resize((200, 200)).save(self.path(TILES[0]))

        self.only_fault("size_mismatch")

    def test_without_a_size_in_the_json_boxes_are_held_against_the_file(self):
        del self.image["width"], self.image["height"]
        self.annotation["bbox"] = [390, 0, 20, 20]

        self.assertIn("10.0 px beyond the right edge", self.only_fault("box_outside_image").message)

    def test_without_the_file_boxes_are_held_against_the_json(self):
        os.remove(self.path(TILES[0]))
        self.annotation["bbox"] = [390, 0, 20, 20]

        self.assertEqual([fault.kind for fault in self.faults()], ["missing_image", "box_outside_image"])

    def test_nan_in_the_json(self):
        self.annotation["bbox"] = [1, 2, float("nan"), 4]

        fault = self.only_fault("non_finite_box")

        self.assertEqual((fault.file, fault.annotation_id), (self.path(TILES[0]), 11))

    def test_a_data_set_without_boxes(self):
        self.document["annotations"] = []

        self.assertEqual(self.only_fault("no_boxes").file, self.annotations)

    def test_no_folder_of_images_or_a_file_in_its_place(self):
        annotations, folder = self.write()

        for images, message in [(folder + "2", "does not exist"), (annotations, "a file, not a folder")]:
            (fault,) = inspection.check(annotations, images)
            self.assertEqual((fault.kind, fault.file), ("missing_images_folder", images))
            self.assertIn(message, fault.message)

    def test_boxes_are_checked_without_a_folder_too(self):
        self.annotation["bbox"] = [1, 2, 3, 0]
        annotations, folder = self.write()

        kinds = [fault.kind for fault in inspection.check(annotations, folder + "2")]

        self.assertEqual(kinds, ["missing_images_folder", "box_without_area"])

    def test_neither_annotations_nor_images(self):
        for annotations, images, kinds in [
            ("none.json", "none", ["missing_json", "missing_images_folder"]),
            ("embedded:none.json", "embedded:none", ["missing_embedded", "missing_embedded"]),
        ]:
            self.assertEqual([fault.kind for fault in inspection.check(annotations, images)], kinds)

    def test_everything_wrong_at_once_is_listed_at_once(self):
        self.document = {
            "images": [
                None,
                3,
                {"id": []},
                {"id": 1, "file_name": []},
                {"id": 1, "file_name": "a", "width": "x"},
            ],
            "annotations": [None, [], {}, {"id": {}, "image_id": {}, "category_id": {}, "bbox": {}}, "box"],
            "categories": [None, {"id": {}}],
        }

        kinds = {fault.kind for fault in self.faults()}

        self.assertContainsSubset(
            {
                "malformed_image",
                "malformed_annotation",
                "malformed_category",
                "malformed_box",
                "missing_image",
            },
            kinds,
        )

    def test_an_unknown_way_to_check(self):
        with self.assertRaisesRegex(ConfigError, "'decode' or 'header'"):
            self.faults("none")

    def turn(self, tile, crop, orientation):
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.open(self.path(tile)).crop(crop).save(self.path(tile), exif=exif)


if __name__ == "__main__":
    tf.test.main()
