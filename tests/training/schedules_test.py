import copy
import re

import gin
import tensorflow as tf

from tf_frozen.config import gin_files
from tf_frozen.config.computed import pin_macro
from tf_frozen.config.load import load_config
from tf_frozen.errors import ConfigError
from tf_frozen.keras_flavor import keras
from tf_frozen.training import run  # noqa: F401, the files bind Run
from tf_frozen.training.schedules import StepDecay, WarmupCosine, described, schedule_of, unfinished

PAPERS = "papers/proper_reuse/"
# What each shipped schedule has at its own length, by the steps that are done: the sources' numbers.
SHIPPED = {
    "quickstart.gin": {0: 0.0, 50: 2e-3, 325: 1e-3, 600: 0.0},
    "runs/small_retinanet.gin": {0: 0.0, 50: 2e-3, 325: 1e-3, 600: 0.0},
    "runs/efficientdet_coco.gin": {0: 0.0, 924: 0.16, (277200 + 924) // 2: 0.08, 277200: 0.0},
    f"{PAPERS}official/retinanet_resnet101_fpn_72epochs.gin": {
        0: 0.0067, 500: 0.32, 22176: 0.32, 22177: 0.032, 31416: 0.032, 31417: 0.0032, 33263: 0.0032,
    },
    f"{PAPERS}official/retinanet_resnet101_fpn_600epochs.gin": {
        0: 0.0067, 500: 0.32, 265684: 0.32, 265685: 0.032, 272615: 0.032, 272616: 0.0032, 277234: 0.0032,
    },
    f"{PAPERS}r101_fpn_imagenet_frozen_72.gin": {
        0: 0.0067, 500: 0.16, 88704: 0.16, 88705: 0.016, 125664: 0.016, 125665: 0.0016, 133055: 0.0016,
    },
    f"{PAPERS}r101_fpn_imagenet_frozen_600.gin": {
        0: 0.0067, 500: 0.16, 1062734: 0.16, 1062735: 0.016, 1090458: 0.016, 1090459: 0.0016, 1108939: 0.0016,
    },
    f"{PAPERS}b7_nasfpn_cascade_coco_frozen.gin": {
        0: 0.0032, 1000: 0.32, 81000: 0.32, 81001: 0.032, 85501: 0.0032, 87750: 0.0032, 87751: 0.00032, 89999: 0.00032,
    },
}  # fmt: skip
SHORT = 200


def schedule(name, *params):
    """The schedule that Run.optimizer of a shipped file has; where its length follows the data, at LEAST_STEPS."""
    load_config([name], params)
    if "Run.length" in gin.config_str() and gin.query_parameter("TRAIN_STEPS/gin.macro.value") is None:
        pin_macro("TRAIN_STEPS", gin.query_parameter("LEAST_STEPS/gin.macro.value"), "its least length")
    make = copy.deepcopy(gin.get_bindings("Run", resolve_references=False)["optimizer"])
    return schedule_of(make())


def rates(of, steps):
    return [float(of(tf.constant(step, tf.int64))) for step in steps]


class ShippedTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.addCleanup(gin.clear_config)

    def test_the_list_has_every_file_of_schedules(self):
        included, waiting = set(), list(SHIPPED)
        while waiting:
            found = re.findall(r"(?m)^include '(.*)'", gin_files.find(waiting.pop()).text)
            waiting += set(found) - included
            included |= set(found)
        self.assertContainsSubset({n for n, _ in gin_files.shipped() if n.startswith("schedules/")}, included)

    def test_at_its_own_length(self):
        for name, known in SHIPPED.items():
            with self.subTest(name):
                found = schedule(name)
                self.assertAllClose(rates(found, known), [*known.values()], rtol=1e-5, atol=1e-6 * max(known.values()))
                self.assertEqual(unfinished(found, max(known)), "")

    def test_at_another_length_it_comes_to_the_same_end(self):
        for name, known in SHIPPED.items():
            with self.subTest(name):
                own, found = schedule(name), schedule(name, f"TRAIN_STEPS = {SHORT}")
                length, peak = max(known), max(known.values())
                self.assertAllClose(rates(found, [0, SHORT // 10]), [known[0], peak], rtol=1e-5, atol=1e-5 * peak)
                last = rates(found, [SHORT - 1])[0]
                self.assertAllClose(last, rates(own, [length])[0], atol=1e-3 * peak)
                self.assertEqual(unfinished(found, SHORT), "")
                for share in (0.5, 0.8, 0.97):
                    there, here = rates(own, [int(share * length)])[0], rates(found, [int(share * SHORT)])[0]
                    # A cosine that has warmed up for a longer part of the run is a little behind.
                    self.assertAllClose(here, there, rtol=0.25, msg=f"after {share} of the steps")

    def test_a_run_of_one_step_trains(self):
        for name, known in SHIPPED.items():
            with self.subTest(name):
                peak = max(known.values())
                self.assertAllClose(rates(schedule(name, "TRAIN_STEPS = 1"), [0]), [peak], rtol=1e-5)

    def test_another_batch_scales_the_rate(self):
        for name, known in SHIPPED.items():
            with self.subTest(name):
                batch = int(schedule(name).get_config()["reference_batch"])
                steps = [step for step in known if step]
                found = rates(schedule(name, f"BATCH_SIZE = {batch // 2}"), steps)
                self.assertAllClose(found, [known[step] / 2 for step in steps], rtol=1e-5, atol=1e-6)
                fixed = rates(schedule(name, f"BATCH_SIZE = {2 * batch}", "LEARNING_RATE_BATCH = None"), steps)
                self.assertAllClose(fixed, [known[step] for step in steps], rtol=1e-5, atol=1e-6)


class ScheduleTest(tf.test.TestCase):
    def test_keras_makes_them_again_from_their_configuration(self):
        for made in (
            WarmupCosine(0.1, 100, 20, 4, 2),
            StepDecay((0.1, 0.01), (0.5,), 100, warmup_steps=3, warmup_from=0.001),
        ):
            config = keras.optimizers.schedules.serialize(made)
            again = keras.optimizers.schedules.deserialize(config)
            self.assertEqual(again.get_config(), made.get_config())
            self.assertEqual(rates(again, range(0, 100, 7)), rates(made, range(0, 100, 7)))

    def test_what_is_out_of_range_is_named(self):
        wrong = {
            "peak is 'fast'": lambda: WarmupCosine("fast", 10),
            "peak is -1": lambda: WarmupCosine(-1, 10),
            "steps is 0": lambda: WarmupCosine(0.1, 0),
            "warmup_steps is 2.5": lambda: WarmupCosine(0.1, 10, 2.5),
            "reference_batch is 0": lambda: WarmupCosine(0.1, 10, batch_size=2, reference_batch=0),
            r"drops is \(88704, 125664\); .* above 0 and below 1": lambda: StepDecay(
                (3, 2, 1), (88704, 125664), 133056
            ),
            r"drops is \(0.9, 0.8\) and .*must rise": lambda: StepDecay((3, 2, 1), (0.9, 0.8), 10),
            r"rates \(3, 2, 1\); .*one rate more": lambda: StepDecay((3, 2, 1), (0.9,), 10),
            "rates is None": lambda: StepDecay(None, (0.9,), 10),
        }
        for message, make in wrong.items():
            with self.subTest(message), self.assertRaisesRegex(ConfigError, message):
                make()

    def test_one_that_does_not_come_to_its_end_is_found(self):
        library = keras.optimizers.schedules
        for wrong in (
            library.CosineDecay(0.0, 100, warmup_target=0.1, warmup_steps=50),
            library.PiecewiseConstantDecay([50, 120], [0.1, 0.01, 0.001]),
            WarmupCosine(0.1, 200),
            library.CosineDecay(0.0, 100, warmup_target=0.1, warmup_steps=500),
        ):
            self.assertRegex(unfinished(wrong, 100), "after the 100 steps .* would become .* steps = %TRAIN_STEPS")
        for right in (
            WarmupCosine(0.1, 100),
            library.CosineDecay(0.1, 100, alpha=0.2),
            lambda step: tf.constant(0.1),
            library.PiecewiseConstantDecay([50, 90], [0.1, 0.01, 0.001]),
        ):
            self.assertEqual(unfinished(right, 100), "")
        for steps in (1, 2, 3):
            self.assertEqual(unfinished(WarmupCosine(0.1, steps), steps), "")
        self.assertIsNone(schedule_of(keras.optimizers.SGD(0.1)))

    def test_the_rates_of_a_run_in_words(self):
        text = described(WarmupCosine(0.002, 100, 5), 100)
        self.assertStartsWith(text, "0 in step 1, 0.00199 in step 10, ")
        self.assertEndsWith(text, " in step 100")
        self.assertEqual(described(WarmupCosine(0.002, 1), 1), "0.002 in step 1")


if __name__ == "__main__":
    tf.test.main()
