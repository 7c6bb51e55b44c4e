from pathlib import Path

import gin
import tensorflow as tf

from tests.config.toys import RUN, GinTest
from tf_frozen import experiment
from tf_frozen.errors import DataError

COMPUTED = """
ToyRun.steps = %COUNT
ToyRun.data = (%SIZE, %SIZE)
toy_count.annotations = "data.txt"
COUNT = @toy_count()
SIZE = @toy_count()
"""


class PinComputedTest(GinTest):
    def setUp(self):
        super().setUp()
        Path("data.txt").write_text("12345")

    def test_a_saved_configuration_stands_alone(self):
        self.load(RUN + COMPUTED + "NECK = @ToyNeck()\nToyRun.neck = %NECK")
        experiment.pin_computed()
        experiment.save("run")
        Path("data.txt").unlink()
        run = self.build()
        self.assertEqual((run.steps, run.data), (5, (5, 5)))
        self.assertEmpty(experiment.unused_bindings())
        experiment.load_run("run")
        run = self.build()
        self.assertEqual((run.steps, run.data, run.neck.filters), (5, (5, 5), 16))

    def test_a_computed_macro_whose_only_user_was_bound_anew_is_not_reported(self):
        self.load(RUN + COMPUTED, "ToyRun.steps = 3")
        experiment.pin_computed()
        self.build()
        self.assertEmpty(experiment.unused_bindings())

    def test_values_of_a_saved_configuration_are_kept_and_stated_ones_win(self):
        saved = ["# Macros:", "COUNT = (640, 512)", "SIZE = 7", "ToyRun.steps = 3", "NECK = @ToyNeck()", "COUNT == 8"]
        self.load(RUN + COMPUTED, "SIZE = 9")
        experiment.pin_computed(saved)
        run = self.build()
        self.assertEqual((run.steps, run.data), ((640, 512), (9, 9)))
        self.assertEmpty(experiment.unused_bindings())

    def test_what_is_saved_without_a_value_is_computed(self):
        self.load(RUN + COMPUTED)
        experiment.pin_computed(["COUNT = @toy_count()", "SIZE = %COUNT"])
        self.assertEqual((self.build().steps, gin.query_parameter("SIZE/gin.macro.value")), (5, 5))

    def test_the_error_of_the_function_is_raised_as_it_is(self):
        self.load(RUN + COMPUTED)
        Path("data.txt").unlink()
        self.assertEqual(self.fault(experiment.pin_computed, error=DataError), "data.txt is missing.")


if __name__ == "__main__":
    tf.test.main()
