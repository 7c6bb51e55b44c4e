import tensorflow as tf

from tests.config.toys import RUN, GinTest


class WithoutValueTest(GinTest):
    def test_a_macro_that_nothing_defines_is_reported_once_with_how_to_give_it(self):
        message = self.fault(self.load, "ToyRun.steps = %STEPS\nToyRun.name = %STEPS\nToyRun.data = [%DATA]")
        self.assertEqual(message.count("'STEPS'"), 1)
        self.assertIn("run.gin:3: ", message)
        self.assertIn("`gin_params` 'DATA = ...'", message)

    def test_a_part_that_another_replaced_needs_none(self):
        neck = "ToyRun.neck = @big/ToyNeck()\nbig/ToyNeck.filters = %FILTERS"
        self.assertIn("The macro 'FILTERS' has no value", self.fault(self.load, neck))
        self.load(neck, "ToyRun.neck = None")
        shared = f"{neck}\nToyNeck.filters = %FILTERS"
        self.assertIn("The macro 'FILTERS' has no value", self.fault(self.load, shared, "ToyRun.neck = @ToyNeck()"))


class WithoutUseTest(GinTest):
    def test_a_misspelt_macro_is_an_error_wherever_it_stands(self):
        self.assertEqual(
            self.fault(self.load, RUN, "TRAIN_STEP = 5"),
            "`gin_params` 1: Nothing uses the macro 'TRAIN_STEP'. Did you mean 'TRAIN_STEPS'?\n    TRAIN_STEP = 5",
        )
        self.assertStartsWith(self.fault(self.load, f"{RUN}TRAIN_STEP = 5"), "run.gin:6: Nothing uses the macro")

    def test_all_are_listed_and_names_like_no_other_get_no_advice(self):
        message = self.fault(self.load, f"{RUN}COLOUR = 'red'", "TRAIN_STEP = 5")
        self.assertIn("run.gin:6: Nothing uses the macro 'COLOUR'.\n", message)
        self.assertIn("'TRAIN_STEP'", message)

    def test_a_macro_of_shipped_files_may_be_there_for_files_that_are_not_read(self):
        self.load(f"{RUN}NECK = @ToyNeck()")
        self.load("include 'necks/fpn_small.gin'")

    def test_a_parameter_of_the_user_may_not(self):
        self.assertIn("'NECK'", self.fault(self.load, RUN, "NECK = @ToyNeck()"))

    def test_a_macro_whose_only_user_was_bound_anew(self):
        self.load(RUN, "ToyRun.steps = 5")
        message = self.fault(self.load, RUN, "ToyRun.steps = 5", "TRAIN_STEPS = 7")
        self.assertIn("'TRAIN_STEPS'. `gin_params` 1 gives ToyRun.steps another value.", message)

    def test_a_macro_may_be_used_by_a_later_parameter(self):
        self.load(RUN, "NAME = 'a'", "ToyRun.name = %NAME")
        self.assertEqual(self.build().name, "a")


if __name__ == "__main__":
    tf.test.main()
