import tensorflow as tf

from tests.config.toys import RUN, GinTest, ToyRun
from tf_frozen.config.unused import report_unused, unused_bindings


class UnusedTest(GinTest):
    def test_all_used(self):
        self.load(RUN)
        self.build()
        self.assertEmpty(unused_bindings())
        report_unused(strict=True)

    def test_bindings_of_what_was_never_called(self):
        self.load(f"{RUN}ToySource.check = 3\nbig/ToyNeck.filters = 256")
        self.build()
        self.assertEqual(
            unused_bindings(),
            ["ToySource.check = 3 (run.gin:6)", "big/ToyNeck.filters = 256 (run.gin:7)"],
        )

    def test_a_scope_hides_the_scopes_around_it(self):
        self.load("ToyRun.neck=@big/ToyNeck()\nToyNeck.filters = 1\nbig/ToyNeck.filters = 2\nToyNeck.repeats = 9")
        neck = self.build().neck
        self.assertEqual((neck.filters, neck.repeats), (2, 9))
        self.assertEqual(unused_bindings(), ["ToyNeck.filters = 1 (run.gin:2)"])

    def test_a_value_that_the_caller_gave_instead(self):
        self.load(RUN)
        ToyRun(steps=3)
        self.assertEqual(unused_bindings(), ["ToyRun.steps = %TRAIN_STEPS (run.gin:3)"])
        self.load("ToyRun.neck = @ToyNeck\nToyNeck.filters = 16")
        self.build().neck(filters=8)
        self.assertEqual(unused_bindings(), ["ToyNeck.filters = 16 (run.gin:2)"])

    def test_what_was_handed_over_and_may_yet_be_called_is_not_reported(self):
        late = "NECK = @late/ToyRun\nlate/ToyRun.data = [@ToySource]\nToySource.check = 3"
        self.load(f"ToyRun.neck = %NECK\n{late}")
        self.build()
        self.assertEmpty(unused_bindings())

    def test_a_macro_whose_only_user_was_bound_anew_is_not_reported(self):
        self.load(RUN, "ToyRun.steps = 5")
        self.build()
        self.assertEmpty(unused_bindings())

    def test_the_settings_of_what_a_later_file_replaces_are_not_reported(self):
        norm = "ToyNeck.repeats = @ToyNorm()\nToyNorm.momentum = %MOMENTUM\nMOMENTUM = 0.9"
        part = f"ToyRun.neck = %NECK\nNECK = @ToyNeck()\nToyNeck.filters = 16\n{norm}"
        for later in ("NECK = @ToyLayer()", "NECK = None", "ToyRun.neck = 3"):
            with self.subTest(later):
                self.load(part, later)
                self.build()
                self.assertEmpty(unused_bindings())

    def test_settings_given_after_the_replacement_are_reported(self):
        neck = "ToyRun.neck = %NECK\nNECK = @ToyNeck()\nToyNeck.filters = 16\nToyNeck.repeats = 5"
        self.load(neck, "NECK = @ToyLayer()", "ToyNeck.filters = 8")
        self.build()
        self.assertEqual(unused_bindings(), ["ToyNeck.filters = 8 (`gin_params` 2)"])

    def test_a_macro_is_not_reported_beside_the_parameter_that_takes_it(self):
        self.load(f"{RUN}ToyLayer.filters = %LAYER_FILTERS\nLAYER_FILTERS = 3")
        self.build()
        self.assertEqual(unused_bindings(), ["ToyLayer.filters = %LAYER_FILTERS (run.gin:6)"])

    def test_reports_in_the_log_and_raises_when_strict(self):
        self.load(f"{RUN}ToySource.check = 3")
        self.build()
        with self.assertLogs("tf_frozen", "WARNING") as logged:
            report_unused()
        self.assertIn("ToySource.check = 3", logged.output[0])
        self.assertIn("ToySource.check = 3", self.fault(report_unused, True))


if __name__ == "__main__":
    tf.test.main()
