"""Tests of export/fonts.py, with the fonts that Pillow and matplotlib bring as the only ones installed."""

import os
from pathlib import Path
from unittest import mock

import tensorflow as tf

from tf_frozen.export import fonts


class FontsTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        (self.dejavu,) = fonts._of_matplotlib()
        self.tools = Path(self.get_temp_dir())
        for patch in (
            mock.patch.object(fonts, "_FILES", ("none.ttf",)),
            mock.patch.object(fonts, "_of_matplotlib", lambda: []),
            mock.patch.dict(os.environ, PATH=str(self.tools)),
        ):
            patch.start()
            self.addCleanup(patch.stop)
        for function in (fonts._best, fonts._warn):
            function.cache_clear()
            self.addCleanup(function.cache_clear)

    def install(self, *lines):
        """A fontconfig that finds these files, whatever it is asked for."""
        (self.tools / "fc-list").write_text("\n".join(["#!/bin/sh", *(f"echo '{line}'" for line in lines)]))
        (self.tools / "fc-list").chmod(0o755)

    def test_a_name_without_a_font_is_its_class_number_and_the_legend_is_said_once(self):
        names = {1: "cat", 3: "猫", 90: "犬 dog"}
        with self.assertLogs("tf_frozen", "WARNING") as log:
            for _ in range(2):
                self.assertEqual(fonts.labels(names), {1: "cat", 3: "class 3", 90: "class 90"})
        (line,) = log.output
        self.assertIn("In pictures class 3 is 猫, class 90 is 犬 dog. Install a font", line)

    def test_a_font_of_fontconfig_writes_what_others_lack(self):
        self.install("/fonts/bitmap.pcf.gz", "/fonts/gone.ttf", self.dejavu)
        with self.assertNoLogs("tf_frozen"):
            self.assertEqual(fonts.labels({1: "кот", 2: "قط", 3: "cat"}), {1: "кот", 2: "قط", 3: "cat"})
        font, text = fonts.fitting("кот 0.90", 20)
        self.assertEqual((font.path, font.size, text), (self.dejavu, 20, "кот 0.90"))

    def test_a_font_that_lacks_what_fontconfig_said_it_has_is_not_believed(self):
        self.install(self.dejavu)
        with self.assertLogs("tf_frozen", "WARNING"):
            self.assertEqual(fonts.labels({7: "猫"}), {7: "class 7"})

    def test_the_font_of_matplotlib_needs_no_installed_one(self):
        with mock.patch.object(fonts, "_of_matplotlib", lambda: [self.dejavu]), self.assertNoLogs("tf_frozen"):
            self.assertEqual(fonts.labels({1: "Ёлка"}), {1: "Ёлка"})

    def test_a_text_is_written_in_the_font_that_lacks_least_and_the_rest_is_escaped(self):
        self.install(self.dejavu)
        font, text = fonts.fitting("кот 猫", 20)
        self.assertEqual((font.path, text), (self.dejavu, r"кот \u732b"))

    def test_half_a_pair_of_utf_16_can_be_written(self):
        self.assertEqual(fonts.labels({1: "half \ud83d"}), {1: r"half \ud83d"})

    def test_a_long_legend_is_cut(self):
        with self.assertLogs("tf_frozen", "WARNING") as log:
            fonts.labels({number: "猫" * number for number in range(1, 31)})
        self.assertIn("class 20 is " + "猫" * 20 + ", and 10 more. Install", log.output[0])


if __name__ == "__main__":
    tf.test.main()
