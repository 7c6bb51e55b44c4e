import contextlib
import io
import json
import os

import gin
import tensorflow as tf

from tf_frozen import cli

TINY = """
import tf_frozen.backbones.efficientnet_lite
import tf_frozen.data.sources.coco_json
import tf_frozen.detectors.rcnn
import tf_frozen.heads.box_cascade
import tf_frozen.heads.box_head
import tf_frozen.heads.region_proposal
import tf_frozen.necks.nas_fpn
import tf_frozen.training.optimizers

BACKBONE_MODE = 'frozen'
TRAIN_ANNOTATIONS = %gin.REQUIRED
Run.detector = @RCNN
Run.train_data = @train/CocoJson
Run.optimizer = @SGD
train/CocoJson.annotations = %TRAIN_ANNOTATIONS
SGD.momentum = 0.9
RCNN.backbone = @EfficientNetLite()
RCNN.neck = @NASFPN()
RCNN.region_proposal = @RegionProposal()
RCNN.box_heads = @BoxCascade()
RCNN.frame = (64, 96)
EfficientNetLite.mode = %BACKBONE_MODE
NASFPN.filters = 8
NASFPN.repeats = 1
RegionProposal.filters = 8
BoxCascade.head = @BoxHead()
BoxHead.num_classes = 2
BoxHead.filters = 8
BoxHead.fc_units = 8
"""


class InspectTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.addCleanup(gin.clear_config)
        self.file = self.write("tiny.gin", TINY)

    def write(self, name, text):
        path = os.path.join(self.get_temp_dir(), name)
        with open(path, "w") as file:
            file.write(text)
        return path

    def inspect(self, *arguments):
        """Exit code and what the command wrote to standard output and to standard error."""
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = cli.main(["inspect", *arguments])
        return code, out.getvalue(), err.getvalue()

    def test_text_lists_layers_parts_and_why(self):
        code, out, _ = self.inspect("--gin_file", self.file)
        self.assertEqual(code, 0)
        stem = next(line for line in out.split("\n") if "/stem_conv" in line)
        self.assertEqual(stem.split(), ["backbone/stage_3/stem_conv", "Conv2D", "864", "0", "frozen"])
        classes = next(line for line in out.split("\n") if "heads/2/classes" in line)
        self.assertEqual(classes.split(), ["box_heads/heads/2/classes", "Dense", "27", "0"])
        self.assertIn("Frozen: backbone, because its mode is 'frozen'", out)
        self.assertIn("64 × 96 pixels", out)
        self.assertRegex(out, r"\nactivations kept for the backward pass +[\d.]+ MB +[\d.]+ MB +[\d.]+ %")
        self.assertRegex(
            out, r"\nWarning: The backbone is frozen, and what is left to train is [\d.]+ % of the parameters"
        )

    def test_json_is_the_whole_output_and_follows_a_parameter(self):
        reports = {}
        for mode in ("frozen", "fine_tune"):
            parameter = f"BACKBONE_MODE = '{mode}'"
            code, out, _ = self.inspect("--gin_file", self.file, "--gin_param", parameter, "--json")
            self.assertEqual(code, 0)
            reports[mode] = json.loads(out)
        frozen, tuned = reports["frozen"], reports["fine_tune"]
        self.assertEqual(set(frozen["parameters"]), {"total", "trainable", "frozen", "trainable_percent"})
        self.assertEqual(frozen["parameters"]["total"], tuned["parameters"]["total"])
        self.assertEqual(frozen["parts"]["backbone"]["parameters"]["trainable"], 0)
        self.assertEqual(tuned["parameters"]["frozen"], 0)
        self.assertEqual(frozen["optimizer_bytes"], 4 * frozen["parameters"]["trainable"])
        self.assertEqual(frozen["optimizer_bytes_unfrozen"], tuned["optimizer_bytes"])
        self.assertEqual(frozen["forward_flops"], tuned["forward_flops"])
        self.assertLen(frozen["warnings"], 1)
        self.assertEqual(tuned["warnings"], [])
        self.assertEqual(frozen["checkpoint_bytes_unfrozen"], tuned["checkpoint_bytes"])
        self.assertLess(frozen["activation_bytes"], tuned["activation_bytes"])
        self.assertEqual({row["trains"] for row in tuned["layers"]}, {True})

    def test_the_policy_of_the_run_decides_what_trains(self):
        text = "import tf_frozen.freezing\nRun.policy = @Policy()\nPolicy.rules = [('neck/.*', 'frozen')]\n"
        code, out, _ = self.inspect("--gin_file", self.file, "--gin_file", self.write("policy.gin", text))
        self.assertEqual(code, 0)
        self.assertRegex(out, r"\nneck/\.\* +frozen ")
        neck = next(line for line in out.split("\n") if line.startswith("neck  "))
        self.assertEqual(neck.split()[3:5], ["0", neck.split()[1]])

    def test_a_configuration_without_a_detector_is_explained(self):
        code, out, err = self.inspect("--gin_file", self.write("half.gin", "SEED = 1\n"))
        self.assertEqual((code, out), (2, ""))
        self.assertIn("no Run.detector", err)

    def test_a_typo_is_explained(self):
        code, _, err = self.inspect("--gin_file", self.file, "--gin_param", "NASFPN.filter = 9")
        self.assertEqual(code, 2)
        self.assertIn("filters", err)


if __name__ == "__main__":
    tf.test.main()
