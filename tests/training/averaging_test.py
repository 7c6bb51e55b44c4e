import tempfile

import numpy as np
import tensorflow as tf

from tests.training import tiny
from tests.training.lab import lab
from tf_frozen.keras_flavor import keras
from tf_frozen.training.averaging import averaged_weights, ramp_momentum

FIRST = 100.0
OPTIMIZERS = {
    "SGD": lambda momentum: keras.optimizers.SGD(1.0, use_ema=True, ema_momentum=momentum),
    "AdamW": lambda momentum: keras.optimizers.AdamW(1.0, use_ema=True, ema_momentum=momentum),
    "Lion": lambda momentum: keras.optimizers.Lion(1.0, use_ema=True, ema_momentum=momentum),
}


def walk(optimizer, variable, steps, graph=False):
    """The values of a variable after each step, all gradients being 1."""
    step = lambda: optimizer.apply_gradients([(tf.ones_like(variable), variable)])  # noqa: E731
    step = tf.function(step) if graph else step
    values = []
    for _ in range(steps):
        step()
        values.append(float(variable))
    return values


def average(optimizer, number=0):
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    return float(inner._model_variables_moving_average[number])


def expected(values, momentum):
    """The average by the definition in ExponentialMovingAverage, one step later."""
    found = 0.0
    for number, value in enumerate(values):
        now = min(momentum, number / (number + 9))
        found = now * found + (1 - now) * value
    return found


class RampTest(tf.test.TestCase):
    def test_nothing_of_the_initial_weights_remains_at_any_length(self):
        for name, make in OPTIMIZERS.items():
            for graph in (False, True):
                with self.subTest(f"{name}, graph {graph}"):
                    variable, optimizer = tf.Variable(FIRST), ramp_momentum(make(0.99))
                    values = walk(optimizer, variable, 1, graph)
                    self.assertEqual(average(optimizer), values[0])
                    values += walk(optimizer, variable, 11, graph)
                    self.assertNear(average(optimizer), expected(values, 0.99), 1e-4)
                    self.assertEqual(optimizer.ema_momentum, 0.99)

    def test_is_keras_s_own_average_once_the_momentum_is_reached(self):
        variable, optimizer = tf.Variable(FIRST), ramp_momentum(OPTIMIZERS["SGD"](0.5))
        values = walk(optimizer, variable, 30)
        self.assertNear(average(optimizer), expected(values, 0.5), 1e-4)
        before = average(optimizer)
        last = walk(optimizer, variable, 1)
        self.assertNear(average(optimizer), 0.5 * before + 0.5 * last[0], 1e-4)

    def test_a_variable_that_starts_later_has_its_own_beginning(self):
        early, late = tf.Variable(FIRST), tf.Variable(FIRST)
        optimizer = OPTIMIZERS["SGD"](0.99)
        optimizer.build([early, late])
        ramp_momentum(optimizer, late=[late], begin=20)
        optimizer.iterations.assign(20)
        optimizer.apply_gradients([(tf.ones([]), early), (tf.ones([]), late)])
        self.assertNear(average(optimizer), 20 / 29 * FIRST + 9 / 29 * (FIRST - 1), 1e-4)
        self.assertEqual(average(optimizer, 1), FIRST - 1)

    def test_below_a_scaled_loss(self):
        variable = tf.Variable(FIRST)
        optimizer = keras.mixed_precision.LossScaleOptimizer(ramp_momentum(OPTIMIZERS["SGD"](0.99)))
        values = walk(optimizer, variable, 3)
        self.assertEqual(values, [FIRST - 1, FIRST - 2, FIRST - 3])
        self.assertNear(average(optimizer), expected(values, 0.99), 1e-4)

    def test_on_two_replicas(self):
        with tempfile.TemporaryDirectory() as folder:
            status, output = lab().run("average_of_two_replicas", folder + "/log")
        self.assertEqual(status, 0, output)
        found = np.array(output.strip().splitlines()[-1].split(), float)
        self.assertAllClose(found, [expected([98.0, 96.0, 94.0], 0.99)] * 2)

    def test_scores_by_averages_and_goes_on_with_the_weights(self):
        model, optimizer = tiny.Tiny(), ramp_momentum(tiny.adam())
        model.compile(optimizer)
        model.train_step(next(iter(tiny.batches(0, 1))))
        model.train_step(next(iter(tiny.batches(1, 2))))
        trained = [variable.numpy() for variable in model.trainable_variables]
        with averaged_weights(model, optimizer):
            inside = [variable.numpy() for variable in model.trainable_variables]
        for before, average_, after in zip(trained, inside, model.trainable_variables, strict=True):
            np.testing.assert_array_equal(after, before)
            self.assertGreater(np.abs(before - average_).max(), 0)


if __name__ == "__main__":
    tf.test.main()
