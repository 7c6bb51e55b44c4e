import argparse
import contextlib
import io
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import tensorflow as tf

from tf_frozen.commands import score
from tf_frozen.data.paths import resolve
from tf_frozen.errors import DataError

NEON = "embedded:neon_trees/val.json"


def run(*arguments):
    parser = argparse.ArgumentParser()
    score.add_arguments(parser)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        status = score.run(parser.parse_args(arguments))
    return status, printed.getvalue()


class ScoreTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = self.enter_context(tempfile.TemporaryDirectory())
        self.box = {"image_id": 3, "category_id": 1, "bbox": [179, 161, 29, 35], "score": 0.75}

    def file(self, content):
        path = Path(self.folder) / f"{len(list(Path(self.folder).iterdir()))}.json"
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        return str(path)

    def test_prints_a_table(self):
        status, printed = run("--annotations", NEON, "--results", self.file([self.box]), "--metric", "coco")
        self.assertFalse(status)
        lines = [line.split() for line in printed.splitlines()]
        # One right box of 277 reaches the recall 0 alone of the 101.
        self.assertIn(["AP", "0.010"], [words[:2] for words in lines])
        self.assertIn(["APl", "n/a"], [words[:2] for words in lines])
        self.assertIn(["tree", "277", "0.010", "0.010"], lines)

    def test_masks_are_scored_when_asked_for(self):
        square = [[179, 161, 208, 161, 208, 196, 179, 196]]
        truth = {
            "images": [{"id": 3, "height": 300, "width": 300}],
            "categories": [{"id": 1, "name": "tree"}],
            "annotations": [{"id": 1, "image_id": 3, "category_id": 1, "bbox": [179, 161, 29, 35]}],
        }
        truth["annotations"][0]["segmentation"] = [[179, 161, 208, 161, 208, 182, 179, 182]]
        files = "--annotations", self.file(truth), "--results", self.file([{**self.box, "segmentation": square}])
        _, printed = run(*files, "--masks", "--json")
        metrics = json.loads(printed)["metrics"]
        # The upper three fifths of the mask are right.
        self.assertAllClose([metrics[name] for name in ("AP", "mask_AP50", "mask_AP75")], [1, 1, 0])
        self.assertNotIn("mask_AP", json.loads(run(*files, "--json")[1])["metrics"])

    def test_prints_nothing_but_json(self):
        _, printed = run("--annotations", NEON, "--results", self.file([self.box]), "--json")
        printed = json.loads(printed)
        self.assertAllClose(printed["metrics"]["AP"], 1 / 101)
        self.assertIsNone(printed["metrics"]["ARl"])
        self.assertEqual([row["category"] for row in printed["per_class"]], ["tree"])

    def test_files_that_cannot_be_scored(self):
        good = self.file([self.box])
        cases = [
            (NEON, "nowhere/results.json", r"nowhere/results.json: cannot be read \(No such file"),
            ("nowhere.json", good, r"nowhere.json: cannot be read \(No such file"),
            (NEON, self.folder, r"cannot be read \(Is a directory"),
            (NEON, self.file(b'[{"image_id": 3,'), r"is not valid JSON: .*line 1, column"),
            (NEON, self.file(b""), r"is empty"),
            (NEON, self.file(b"\xff\xfe\x00\x81"), r"is not valid JSON"),
            (NEON, self.file(b"[" * 100_000), r"cannot be parsed"),
            (good, good, r"it looks like detection results, not annotations"),
            (NEON, self.file({}), r"must be a list of rows"),
        ]
        for annotations, results, message in cases:
            with self.assertRaisesRegex(DataError, message):
                run("--annotations", annotations, "--results", results)

    def test_faults_in_rows_name_the_files(self):
        results = self.file([self.box, self.box | {"image_id": 77}])
        with self.assertRaises(DataError) as caught:
            run("--annotations", NEON, "--results", results)
        for part in ("row 1 has image_id 77", NEON, results):
            self.assertIn(part, str(caught.exception))
        self.assertLen(caught.exception.faults, 1)

    def test_every_encoding_of_json_is_read(self):
        expected = run("--annotations", NEON, "--results", self.file([self.box]), "--json")
        for encoding in ("utf-8-sig", "utf-16"):
            results = self.file(json.dumps([self.box]).encode(encoding))
            self.assertEqual(run("--annotations", NEON, "--results", results, "--json"), expected)

    def test_a_zero_with_a_reason_is_said(self):
        with open(resolve(NEON), encoding="utf-8") as file:
            truth = json.load(file)
        good = [{**self.box, "image_id": row["image_id"], "bbox": row["bbox"]} for row in truth["annotations"]]

        def warnings(results, annotations=NEON):
            return json.loads(run("--annotations", annotations, "--results", self.file(results), "--json")[1])[
                "warnings"
            ]

        ranked = [{**row, "score": k / 300} for k, row in enumerate(good)]
        self.assertEqual(warnings(ranked), [])
        self.assertEqual(warnings([]), ["There are no results: every object counts as missed."])
        (few,) = warnings([row for row in ranked if row["image_id"] in (3, 4)])
        self.assertStartsWith(few, "There are results for 2 of the 9 images that have objects")
        (equal,) = warnings(good)
        self.assertIn("All results have the score 0.75", equal)
        (empty,) = warnings(ranked, self.file({**truth, "annotations": []}))
        self.assertIn("no annotation that is not a crowd", empty)
        other = {**truth, "categories": [*truth["categories"], {"id": 2, "name": "rock"}]}
        (classes,) = warnings([{**row, "category_id": 2} for row in ranked], self.file(other))
        self.assertIn("No result is of a class that has objects", classes)

        corners = [
            {**row, "bbox": [x, y, x + w, y + h]} for row, (x, y, w, h) in ((row, row["bbox"]) for row in ranked)
        ]
        fractions = [{**row, "bbox": [side / 416 for side in row["bbox"]]} for row in ranked]
        for results, message in ((corners, "read as corners"), (fractions, "as fractions of the image do")):
            with self.assertRaisesRegex(DataError, f"(?s)Cannot score.*The results: .*{message}"):
                warnings(results)
        annotations = [{**row, "bbox": [side / 416 for side in row["bbox"]]} for row in truth["annotations"]]
        in_fractions = self.file({**truth, "annotations": annotations})
        with self.assertRaisesRegex(DataError, "The ground truth: .*as fractions of the image do"):
            warnings(ranked, in_fractions)
        (both,) = warnings(fractions, in_fractions)
        self.assertIn("both files look like fractions", both)

    def test_results_of_another_convention_within_their_images(self):
        with open(resolve(NEON), encoding="utf-8") as file:
            truth = json.load(file)
        for image in truth["images"]:  # so large that boxes stay within them in any convention
            image.update(height=2000, width=2000)
        annotations = self.file(truth)
        mistakes = {
            "corners [x1, y1, x2, y2]": lambda x, y, w, h: [x, y, x + w, y + h],
            "[y, x, height, width]": lambda x, y, w, h: [y, x, h, w],
            "centers [center x, center y, width, height]": lambda x, y, w, h: [x + w / 2, y + h / 2, w, h],
            "corners [y1, x1, y2, x2]": lambda x, y, w, h: [y, x, y + h, x + w],
        }
        for name, mistake in mistakes.items():
            rows = [
                {**self.box, "image_id": row["image_id"], "bbox": mistake(*row["bbox"]), "score": k / 300}
                for k, row in enumerate(truth["annotations"])
            ]
            printed = json.loads(run("--annotations", annotations, "--results", self.file(rows), "--json")[1])
            self.assertLess(printed["metrics"]["AP50"], 0.1)
            (warning,) = printed["warnings"]
            self.assertIn(f"read as {name}, 277 would", warning)
            self.assertEndsWith(warning, "A box is [x, y, width, height] in pixels; x and y are its top left corner.")

    def test_warnings_of_the_table_go_to_stderr(self):
        with contextlib.redirect_stderr(io.StringIO()) as errors:
            _, printed = run("--annotations", NEON, "--results", self.file([]))
        self.assertEqual(errors.getvalue(), "Warning: There are no results: every object counts as missed.\n")
        self.assertNotIn("Warning", printed)

    def test_works_without_importing_tensorflow(self):
        code = (
            "import argparse, sys; from tf_frozen.commands import score; "
            "assert 'pycocotools' not in sys.modules; "
            f"score.run(argparse.Namespace(annotations={NEON!r}, results={self.file([])!r}, masks=False, json=True)); "
            "assert 'tensorflow' not in sys.modules and 'matplotlib' not in sys.modules"
        )
        subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    tf.test.main()
