import json
import tempfile

import gin
import pytest
import tensorflow as tf

from tests.commands import job
from tests.training import tiny_run

STEM = "backbone/stage_2/first_conv/kernel"
PARTIAL = (
    "BACKBONE_MODE = 'fine_tune'",
    "import tf_frozen.freezing",
    "Run.policy = @Policy()",
    "Policy.rules = [('backbone/stage_2/.*', 'frozen')]",
)


@pytest.mark.slow
class AuditTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.addCleanup(gin.clear_config)
        self.folder = tiny_run.write(self.enter_context(tempfile.TemporaryDirectory()) + "/job")
        self.model_dir = self.folder / "run"

    def train(self, *params):
        self.assertTrue(tiny_run.load(self.folder, self.model_dir, "TRAIN_STEPS = 2", *params).train())

    def audit(self, *flags):
        return job.command("audit", f"--model_dir={self.model_dir}", *flags)

    def test_a_partly_frozen_run_is_proven_without_its_data(self):
        self.train(*PARTIAL)
        (self.folder / "photos").rename(self.folder / "nobody looks here")
        code, out, err = self.audit("--json")
        self.assertEqual(code, 0, err)
        report = json.loads(out)
        self.assertEqual((report["verdict"], report["frozen_variables"], report["frozen_norms"]), ("frozen", 6, 1))
        self.assertAllEqual({path[:17] for path in report["end"]["fingerprints"]}, {"backbone/stage_2/"})
        self.assertEqual(report["start"], report["end"])
        with self.subTest("another fingerprint at the start"):
            path = self.model_dir / "freezing.json"
            content = json.loads(path.read_text())
            content["start"]["fingerprints"][STEM] = "0" * 64
            path.write_text(json.dumps(content))
            code, out, _ = self.audit()
            self.assertEqual(code, 1)
            self.assertRegex(out, rf"differ in any bit from the start of the run +1  {STEM}\n")
            self.assertRegex(out, r"backward ops through what is frozen +0\n")
            self.assertIn("verdict: broken", out)

    def test_all_but_the_last_layer(self):
        rules = "Policy.rules = [('head/classes/.*', 'trained'), ('.*', 'frozen')]"
        self.train(*PARTIAL[:3], rules)
        code, out, _ = self.audit()
        self.assertEqual(code, 0)
        self.assertIn("verdict: frozen", out)
        report = json.loads((self.model_dir / "freezing.json").read_text())
        self.assertEqual((report["verdict"], report["backward_ops"]), ("frozen", 0))
        decisions = json.loads((self.model_dir / "policy.json").read_text())
        self.assertEqual(decisions["trained"], 2)

    def test_the_audit_follows_an_unfreezing(self):
        self.train(*PARTIAL, "Policy.until = 1")
        report = json.loads((self.model_dir / "freezing.json").read_text())
        self.assertEqual((report["from_step"], report["frozen_variables"]), (1, 0))
        (first,) = report["phases"]
        self.assertEqual((first["from_step"], first["verdict"], first["frozen_variables"]), (0, "frozen", 6))
        code, out, _ = self.audit()
        self.assertEqual((code, out.strip().split("\n")[-1]), (0, "verdict: nothing is frozen"))

    def test_a_folder_without_a_run(self):
        code, _, err = job.command("audit", f"--model_dir={self.folder}")
        self.assertEqual(code, 2)
        self.assertIn("holds no run", err)


if __name__ == "__main__":
    tf.test.main()
