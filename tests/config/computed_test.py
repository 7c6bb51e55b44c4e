from pathlib import Path

import gin
import tensorflow as tf

from tests.config.toys import RUN, GinTest
from tf_frozen.config.computed import pin_computed, pin_macro
from tf_frozen.config.load import load_config
from tf_frozen.config.record import config_of, save_config
from tf_frozen.config.unused import unused_bindings
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
        pin_computed()
        save_config("run")
        Path("data.txt").unlink()
        run = self.build()
        self.assertEqual((run.steps, run.data), (5, (5, 5)))
        self.assertEmpty(unused_bindings())
        load_config([config_of("run")])
        run = self.build()
        self.assertEqual((run.steps, run.data, run.neck.filters), (5, (5, 5), 16))

    def test_a_computed_macro_whose_only_user_was_bound_anew_is_not_reported(self):
        self.load(RUN + COMPUTED, "ToyRun.steps = 3")
        pin_computed()
        self.build()
        self.assertEmpty(unused_bindings())

    def test_values_of_a_saved_configuration_are_kept_and_stated_ones_win(self):
        saved = ["# Macros:", "COUNT = (640, 512)", "SIZE = 7", "ToyRun.steps = 3", "NECK = @ToyNeck()", "COUNT == 8"]
        self.load(RUN + COMPUTED, "SIZE = 9")
        pin_computed(saved)
        run = self.build()
        self.assertEqual((run.steps, run.data), ((640, 512), (9, 9)))
        self.assertEmpty(unused_bindings())

    def test_what_is_saved_without_a_value_is_computed(self):
        self.load(RUN + COMPUTED)
        pin_computed(["COUNT = @toy_count()", "SIZE = %COUNT"])
        self.assertEqual((self.build().steps, gin.query_parameter("SIZE/gin.macro.value")), (5, 5))

    def test_the_error_of_the_function_is_raised_as_it_is(self):
        self.load(RUN + COMPUTED)
        Path("data.txt").unlink()
        self.assertEqual(self.fault(pin_computed, error=DataError), "data.txt is missing.")

    def test_a_macro_gets_the_value_that_it_turned_out_to_have(self):
        for text in ("NUM = @ToyNeck()", "NUM = 5"):
            self.load(f"{RUN}ToyRun.name = %NUM\n{text}")
            pin_macro("NUM", 5, "what was counted")
            pin_macro("NO_MACRO", 5, "what was counted")
            self.assertEqual(self.build().name, 5)
        message = self.fault(pin_macro, "NUM", 6, "what was counted")
        self.assertIn("NUM is 5, but what was counted is 6. Give the right one with `gin_params` 'NUM = 6'", message)


if __name__ == "__main__":
    tf.test.main()
