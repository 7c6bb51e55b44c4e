import argparse
import contextlib
import io
import json
import logging
import os
from unittest import mock

import gin
import tensorflow as tf

from tests.data.small_set import TILES, SmallSetTestCase
from tf_frozen import progress
from tf_frozen.commands import check_data
from tf_frozen.config.load import load_config


def run(*arguments):
    """Returns exit code and standard output."""
    parser = argparse.ArgumentParser()
    check_data.add_arguments(parser)
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        code = check_data.run(parser.parse_args(arguments))
    return code, output.getvalue()


class CheckDataTest(SmallSetTestCase):
    def run_on_set(self, *arguments):
        annotations, folder = self.write()
        return run("--annotations", annotations, "--images", folder, *arguments)

    def test_good_data_is_summed_up_and_exit_0(self):
        code, output = run("--annotations", "embedded:neon_trees/val.json", "--images", "embedded:neon_trees/val")

        lines = output.splitlines()
        self.assertEqual(code, 0)
        self.assertEqual(
            lines[0], "No faults in embedded:neon_trees/val.json with the images of embedded:neon_trees/val."
        )
        self.assertEqual([line.split() for line in lines[1:3]], [["images", "9"], ["boxes", "277"]])
        self.assertIn("  under 16 px in a frame of 640 × 640  0%", lines)
        load_config(["runs/train_on_coco_json.gin"])
        self.addCleanup(gin.clear_config)
        self.assertEqual(gin.query_parameter("FRAME/gin.macro.value"), check_data._FRAME)

    def test_masks_are_asked_for(self):
        code, output = run(
            "--annotations", "embedded:neon_trees/val.json", "--images", "embedded:neon_trees/val", "--masks"
        )

        self.assertEqual((code, output.splitlines()[0][:11]), (1, "277 faults "))
        self.assertIn("missing_segmentation (277): Draw the object's outline", output)

    def test_good_data_as_json(self):
        code, output = self.run_on_set("--json")

        found = json.loads(output)
        self.assertEqual((code, found["faults"], found["warnings"]), (0, [], []))
        self.assertEqual((found["summary"]["boxes"], found["summary"]["classes_without_boxes"]), (3, ["shrub"]))

    def test_every_fault_is_printed_however_many(self):
        self.document["annotations"] += [
            {"id": number, "image_id": 1, "category_id": 5, "bbox": [0, 0, 0, 9]} for number in range(100, 150)
        ]

        code, output = self.run_on_set()

        self.assertEqual((code, output.splitlines()[0][:10]), (1, "50 faults "))
        for number in range(100, 150):
            self.assertIn(f"{self.path(TILES[0])}, image 1, annotation {number}, box [0, 0, 0, 9]: ", output)

    def test_of_very_many_faults_some_are_printed_and_all_are_in_the_json(self):
        self.document["annotations"] += [
            {"id": number, "image_id": 1, "category_id": 5, "bbox": [0, 0, 0, 9]} for number in range(100, 2100)
        ]

        _, text = self.run_on_set()
        _, output = self.run_on_set("--json")

        self.assertStartsWith(text, "2000 faults ")
        self.assertLess(len(text.splitlines()), 230)
        self.assertIn("box_without_area (2000): ", text)
        self.assertIn("... and 1800 more\n", text)
        self.assertIn("All of them: the same command with --json", text)
        self.assertLen(json.loads(output)["faults"], 2000)

    def test_warnings_are_printed_apart_and_leave_exit_0(self):
        self.document["annotations"].append({**self.annotation, "id": 99})

        code, text = self.run_on_set()
        _, output = self.run_on_set("--json")

        self.assertEqual(code, 0)
        self.assertIn("1 warning:\nduplicate_annotation (1): ", text)
        self.assertEqual(json.loads(output)["faults"], [])
        self.assertEqual([row["annotation_id"] for row in json.loads(output)["warnings"]], [99])

    def test_a_box_beyond_its_image_and_what_clipping_leaves(self):
        self.annotation["bbox"] = [390, 20, 14, 40]

        code, text = self.run_on_set()
        self.assertEqual(code, 1)
        self.assertIn("CocoJson.clip_boxes = True", text)
        self.assertIn("with --clip_boxes", text)
        code, text = self.run_on_set("--clip_boxes")
        self.assertEqual(code, 0)
        self.assertIn("clipped_box (1): ", text)

    def test_json_has_the_six_fields_and_null_for_nan(self):
        self.annotation["bbox"] = [1, float("nan"), 3, 4]
        os.remove(self.path(TILES[1]))

        code, output = self.run_on_set("--json")

        missing, nan = json.loads(output, parse_constant=self.fail)["faults"]
        self.assertEqual(code, 1)
        self.assertEqual(list(nan), ["kind", "file", "image_id", "annotation_id", "box", "message"])
        self.assertEqual((nan["annotation_id"], nan["box"]), (11, [1, None, 3, 4]))
        self.assertEqual((missing["kind"], missing["file"]), ("missing_image", self.path(TILES[1])))

    def test_progress_stays_out_of_the_json(self):
        logger = logging.getLogger("tf_frozen")
        handler = logging.StreamHandler(io.StringIO())
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        self.addCleanup(logger.removeHandler, handler)
        self.addCleanup(logger.setLevel, logging.NOTSET)

        with mock.patch.object(progress, "_SECONDS", 0.0):
            self.run_on_set("--json")
            self.assertEqual(handler.stream.getvalue(), "")
            self.run_on_set()
            self.assertIn("checking: 1/2 images", handler.stream.getvalue())

    def test_missing_data_are_faults_too_but_wrong_use(self):
        code, output = run("--annotations", "none.json", "--images", self.folder, "--json")
        self.assertEqual((code, [fault["kind"] for fault in json.loads(output)["faults"]]), (2, ["missing_json"]))
        self.assertEqual(run("--annotations", self.write()[0], "--images", "none")[0], 2)
        self.assertEqual(run("--annotations", "embedded:none.json", "--images", self.folder)[0], 2)


if __name__ == "__main__":
    tf.test.main()
