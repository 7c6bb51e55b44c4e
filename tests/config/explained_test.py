import tensorflow as tf

import tf_frozen.necks.fpn
import tf_frozen.training.optimizers  # noqa: F401  so that gin knows what the texts bind
from tests.config.toys import RUN, RUN_WITH_DATA, GinTest, source, toy_bug
from tf_frozen.config.explained import explained
from tf_frozen.errors import ConfigError, DataError


class ExplainedTest(GinTest):
    def test_lists_every_required_value_with_its_meaning_and_how_to_give_it(self):
        self.load(RUN_WITH_DATA)
        data = self.build().data  # Nothing has asked for the values yet.
        with self.assertRaises(ConfigError) as raised, explained():
            data()
        first, second = str(raised.exception).splitlines()
        self.assertStartsWith(first, "run.gin:12: 'TRAIN_ANNOTATIONS' has no value (COCO JSON of the training")
        self.assertEndsWith(first, """`gin_params` 'TRAIN_ANNOTATIONS = "..."'""")
        self.assertEndsWith(second, """`gin_params` 'TRAIN_IMAGES = "..."'""")

    def test_arguments_that_nothing_gives(self):
        cases = {
            "ToyRun.steps = 3": ["ToyRun.neck"],
            f"{RUN}ToyRun.data = @ToySource()": ["ToySource.annotations", "ToySource.images"],
            source("a.json").replace("ToySource.check = 1", ""): ["ToySource.check"],
        }
        for text, missing in cases.items():
            with self.subTest(text):
                self.load(text)
                lines = self.fault(self.build).splitlines()
                self.assertLen(lines, len(missing))
                for line, name in zip(lines, missing, strict=True):
                    self.assertIn(f"`gin_params` '{name} = ...'", line)

    def test_a_keyword_that_keras_refuses_is_found_in_its_gin_file(self):
        self.load("\nToyLayer.units = 3\nToyRun.neck = @ToyLayer()")
        message = self.fault(self.build)
        self.assertStartsWith(message, "run.gin:2: 'ToyLayer' has no parameter 'units'. It has: filters.")
        self.load("ToyLayer.trainable = False\nToyLayer.autocast = False\nToyRun.neck = @ToyLayer()")
        self.assertFalse(self.build().neck.trainable)

    def test_a_misspelt_keyword_is_found_when_it_is_read(self):
        message = self.fault(self.load, "\nToyLayer.filtrs = 3")
        self.assertStartsWith(message, "run.gin:2: 'ToyLayer' has no parameter 'filtrs'. Did you mean 'filters'")

    def test_a_value_that_a_class_refuses_is_shown_with_what_gin_gives_it(self):
        self.load("ToyRun.neck = @ToyActivation()\nToyActivation.name = 'rleu'")
        self.assertEqual(
            self.fault(self.build),
            "ToyActivation cannot be built: Unknown activation function 'rleu' cannot be deserialized.\n"
            "  It was given:\n  run.gin:2: ToyActivation.name = 'rleu'",
        )

    def test_what_a_class_of_another_library_refuses_is_shown_with_what_gin_gives_it(self):
        self.load("ToyRun.neck = @CosineDecay()\nCosineDecay.alpha = 0.5")
        message = self.fault(self.build)
        self.assertRegex(message, "CosineDecay cannot be built: .*missing 2 required .*'decay_steps'")
        self.assertEndsWith(message, "It was given:\n  run.gin:2: CosineDecay.alpha = 0.5")

    def test_a_config_error_gets_the_places_of_the_bindings_that_it_names(self):
        self.load("ToyRun.neck = @FPN()\nFPN.min_level = 5\nFPN.max_level = 3\nFPN.filters = 8")
        self.assertEqual(
            self.fault(self.build),
            "FPN.min_level is 5 and max_level 3; the first must not be above the second.\n"
            "  run.gin:2: FPN.min_level = 5\n  run.gin:3: FPN.max_level = 3",
        )

    def test_user_errors_arrive_as_they_were_raised(self):
        self.load(source("a.txt"))
        with self.assertRaises(DataError) as raised:
            self.build()
        self.assertEqual(str(raised.exception), "a.txt is not JSON.")
        self.assertEqual(raised.exception.faults, ["not json"])
        self.assertIs(type(raised.exception), DataError)

    def test_other_errors_stay_what_they_are(self):
        self.load(source("a.json"), "ToySource.check = 'x'")
        self.assertIn("concatenate", self.fault(self.build, error=TypeError))
        with self.assertRaisesRegex(TypeError, "missing 1 required"), explained():
            toy_bug()


if __name__ == "__main__":
    tf.test.main()
