import gin
import tensorflow as tf

from tests.config.toys import RUN, GinTest
from tf_frozen.config.imports import with_packages
from tf_frozen.training import start_report


class LogChangesTest(GinTest):
    def changes(self, before):
        """What is logged of the present configuration against lines of an earlier one."""
        with self.assertLogs(start_report.__name__, "WARNING") as logged:
            start_report.log_changes(before)
        return logged.output[0].partition("so far:\n")[2].split("\n")

    def test_bindings_that_changed_and_no_others(self):
        self.load(f"import tf_frozen.necks\n{RUN}")
        before = with_packages(gin.config_str(max_line_length=110)).splitlines()
        with self.assertNoLogs(start_report.__name__, "WARNING"):
            start_report.log_changes(before)
        self.load(RUN, "ToyNeck.filters = 5")
        self.assertEqual(self.changes(before), ["  - ToyNeck.filters = 16", "  + ToyNeck.filters = 5"])

    def test_a_module_that_has_moved_is_no_change(self):
        self.load(f"import tf_frozen.necks\n{RUN}")
        before = ["import tf_frozen.necks.fpn", "import tf_frozen.necks.bifpn as tf_frozen2"]
        with self.assertNoLogs(start_report.__name__, "WARNING"):
            start_report.log_changes([*before, *gin.config_str(max_line_length=110).splitlines()])


if __name__ == "__main__":
    tf.test.main()
