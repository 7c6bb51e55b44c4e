import os
import tempfile
import unicodedata

import tensorflow as tf

from tf_frozen.data.sources.image_paths import locate


class LocateTest(tf.test.TestCase):
    def folder(self, *files, name="photos"):
        """Returns a folder with these empty files."""
        folder = os.path.join(self.enter_context(tempfile.TemporaryDirectory()), name)
        for file in files:
            os.makedirs(os.path.dirname(os.path.join(folder, file)), exist_ok=True)
            open(os.path.join(folder, file), "wb").close()
        return folder

    def found(self, folder, *names):
        """Returns the paths below the folder, None for each that does not exist."""
        files = locate(folder, names).files
        return [os.path.relpath(file, folder) if os.path.exists(file) else None for file in files]

    def hint(self, folder, *names):
        """Returns what is said of the first name, which must not be found."""
        located = locate(folder, names)
        self.assertFalse(os.path.exists(located.files[0]))
        return located.hints.get(0)

    def test_names_that_are_right_are_left_alone(self):
        folder = self.folder("a.png", "b/a.png", "100%25.png")
        located = locate(folder, ["a.png", "b/a.png", "100%25.png", ""])
        self.assertEqual([*map(os.path.basename, located.files)], ["a.png", "a.png", "100%25.png", ""])
        self.assertEqual((located.hints, located.warnings), ({}, []))

    def test_names_of_other_machines_and_folders(self):
        names = {
            "north\\a b.png": "north/a b.png",
            "north/a%20b.png": "north/a b.png",
            "C:\\users\\me\\photos\\north\\a b.png": "north/a b.png",
            "/home/me/north/a b.png": "north/a b.png",
            "photos/north/a b.png": "north/a b.png",
            "a b.png": "north/a b.png",
        }
        for name, path in names.items():
            self.assertEqual(self.found(self.folder("north/a b.png", "south/c.png"), name), [path], name)
        self.assertEqual(self.found(self.folder("a%20b.png"), "a b.png"), ["a%20b.png"])
        whole, parts = unicodedata.normalize("NFC", "é.png"), unicodedata.normalize("NFD", "é.png")
        self.assertEqual(self.found(self.folder(parts), whole), [parts])
        self.assertEqual(
            self.found(self.folder("set/north/a.png", "set/a.png"), "/home/me/north/a.png"), ["set/north/a.png"]
        )

    def test_it_is_said_once(self):
        folder = self.folder("north/a.png", "north/b.png", "c.png")
        (warning,) = locate(folder, ["a.png", "b.png", "c.png"]).warnings
        self.assertEqual((warning.kind, warning.file), ("moved_image", folder))
        self.assertStartsWith(warning.message, "2 of 3 images were found by the end of their paths only: 'a.png' is ")

    def test_names_that_look_alike_differ_in_their_unicode_form(self):
        whole, parts = unicodedata.normalize("NFC", "é.png"), unicodedata.normalize("NFD", "é.png")
        for folder, name in ((self.folder(parts), whole), (self.folder("a/" + parts), "a/" + whole)):
            (warning,) = locate(folder, [name]).warnings
            self.assertEndsWith(warning.message, f"{parts} in another Unicode form")
        (warning,) = locate(self.folder("north/a.png"), ["a.png"]).warnings
        self.assertEndsWith(warning.message, "north/a.png")

    def test_another_photograph_of_that_name_is_never_taken(self):
        two = self.folder("train/1.png", "val/1.png")
        self.assertIn("2 files are named like it, as train/1.png and val/1.png", self.hint(two, "images/1.png"))
        one = self.folder("north/1.png")
        self.assertIn("did you mean", self.hint(one, "south/1.png"))
        self.assertIn("It differs in the folder", self.hint(one, "south/1.png"))
        self.assertIn("did you mean", self.hint(self.folder("1.png", name="train"), "val2017/1.png"))
        self.assertIn("did you mean", self.hint(self.folder("1.png"), "north/1.png", "south/1.png"))
        self.assertIn("did you mean", self.hint(self.folder("1.png"), "north/1.png", "1.png"))

    def test_what_differs_is_said(self):
        self.assertEndsWith(self.hint(self.folder("a.jpg"), "a.png"), "a.jpg? It differs in the extension")
        self.assertEndsWith(self.hint(self.folder("A.PNG"), "a.png"), "A.PNG? It differs in upper and lower case")
        self.assertEndsWith(
            self.hint(self.folder("north/a.jpg"), "a.png"), "a.jpg? It differs in the folder and the extension"
        )
        self.assertIsNone(self.hint(self.folder("b.png"), "a.png") or None)


if __name__ == "__main__":
    tf.test.main()
