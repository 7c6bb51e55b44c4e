"""Tests of export/image_files.py."""

import json
import os
from pathlib import Path

import tensorflow as tf

from tf_frozen import errors
from tf_frozen.export import image_files


class FindTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = Path(self.get_temp_dir())
        for name in ("b.jpg", "a.PNG", "notes.txt", "sub/c.webp", "out/b.jpg", "empty/.keep"):
            (self.folder / name).parent.mkdir(exist_ok=True)
            (self.folder / name).write_text("")

    def find(self, *patterns, ignore=None):
        paths = image_files.find([str(self.folder / pattern) for pattern in patterns], ignore)
        return [os.path.relpath(path, self.folder) for path in paths]

    def test_a_folder_gives_its_images_and_those_below(self):
        self.assertEqual(self.find(""), ["a.PNG", "b.jpg", "out/b.jpg", "sub/c.webp"])

    def test_results_of_an_earlier_prediction_are_no_images(self):
        self.assertEqual(self.find("", ignore=str(self.folder / "out")), ["a.PNG", "b.jpg", "sub/c.webp"])
        self.assertEqual(self.find("**/b.jpg", ignore=str(self.folder / "out")), ["b.jpg"])

    def test_a_file_is_taken_at_its_word_and_each_file_once(self):
        self.assertEqual(self.find("notes.txt", "*.jpg", "b.jpg"), ["b.jpg", "notes.txt"])

    def test_a_glob_character_in_a_name_that_exists_is_no_glob(self):
        (self.folder / "x[1].jpg").write_text("")
        self.assertEqual(self.find("x[1].jpg"), ["x[1].jpg"])

    def test_what_a_folder_holds_besides_images_is_counted(self):
        for name in ("sub/d.tif", "sub/e.TIF", "out/predictions.json"):
            (self.folder / name).write_text("")
        with self.assertLogs("tf_frozen", "WARNING") as log:
            self.find("", ignore=str(self.folder / "out"))
        self.assertRegex(log.output[0], r"Skipped in .*: 2 \.tif, 1 \.txt$")

    def test_nothing_found_says_why(self):
        for pattern, message in (
            ("empty", "the folder holds no image"),
            ("*.tif", "no file matches"),
            ("c.jpg", "the path does not exist"),
        ):
            with self.assertRaisesRegex(errors.DataError, message):
                self.find("b.jpg", pattern)


class NamesTest(tf.test.TestCase):
    def names(self, *patterns):
        folder = Path(self.get_temp_dir())
        for name in ("val/1.jpg", "val/north/1.jpg", "other/1.jpg", "other/2.jpg"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text("")
        return list(image_files.find([str(folder / pattern) for pattern in patterns]).values())

    def test_a_name_is_the_path_below_what_was_given(self):
        for patterns, names in (
            (["val"], ["1.jpg", "north/1.jpg"]),
            (["val/north/1.jpg"], ["1.jpg"]),
            (["val/*.jpg"], ["1.jpg"]),
            (["val/*/*.jpg"], ["north/1.jpg"]),
            (["val", "other/2.jpg"], ["2.jpg", "1.jpg", "north/1.jpg"]),
        ):
            self.assertEqual(self.names(*patterns), names)

    def test_files_of_one_name_are_told_apart_by_their_folders(self):
        self.assertEqual(self.names("val/1.jpg", "other"), ["other/1.jpg", "other/2.jpg", "val/1.jpg"])


class IdsTest(tf.test.TestCase):
    def ids(self, paths, file_names):
        path = os.path.join(self.get_temp_dir(), "annotations.json")
        images = [{"id": image_id, "file_name": name} for name, image_id in file_names.items()]
        Path(path).write_text(json.dumps({"images": images, "annotations": [], "categories": []}))
        return list(image_files.ids(paths, path).values())

    def test_a_file_name_may_hold_folders_or_not(self):
        self.assertEqual(self.ids(["/d/val/1.jpg", "/d/2.jpg"], {"1.jpg": 7, "d/2.jpg": "two"}), [7, "two"])

    def test_the_longer_match_counts(self):
        paths = ["/d/a/1.jpg", "/d/b/1.jpg"]
        self.assertEqual(self.ids(paths, {"1.jpg": 0, "a/1.jpg": 1, "b/1.jpg": 2}), [1, 2])

    def test_two_files_of_one_id_are_refused(self):
        with self.assertRaisesRegex(errors.DataError, "one image id, 7, for /d/task_1/1.jpg and /d/task_2/1.jpg"):
            self.ids(["/d/task_1/1.jpg", "/d/task_2/1.jpg"], {"1.jpg": 7})

    def test_an_image_that_is_not_in_the_annotations_is_named(self):
        with self.assertRaisesRegex(errors.DataError, "1 of 2 images, first /d/3.jpg"):
            self.ids(["/d/1.jpg", "/d/3.jpg"], {"1.jpg": 7})


if __name__ == "__main__":
    tf.test.main()
