import os

import pytest
import tensorflow as tf

from tests.necks.pyramids import pyramid
from tf_frozen.errors import ConfigError
from tf_frozen.keras_flavor import keras
from tf_frozen.necks.bifpn import BiFPN
from tf_frozen.necks.fpn import FPN
from tf_frozen.necks.nas_fpn import NASFPN
from tf_frozen.necks.plain_convs import PlainConvs

NECKS = {FPN: {}, NASFPN: {"repeats": 1}, BiFPN: {"repeats": 1}, PlainConvs: {}}


class EveryNeckTest(tf.test.TestCase):
    def test_impossible_arguments_are_refused_with_their_values(self):
        for neck in NECKS:
            name = neck.__name__
            with self.assertRaisesRegex(ConfigError, f"^{name}.filters is 0; it must be an integer from 1"):
                neck(filters=0)
            with self.assertRaisesRegex(ConfigError, f"^{name}.min_level is 5 and max_level 3; .* not be above"):
                neck(min_level=5, max_level=3)
            with self.assertRaisesRegex(ConfigError, f"^{name}.min_level is -1"):
                neck(min_level=-1)

    def necks(self):
        """One of each kind, small, of the levels 3 to 7."""
        return [kind(filters=4, min_level=3, max_level=7, **options) for kind, options in NECKS.items()]

    def test_a_pyramid_that_does_not_fit_is_refused(self):
        for neck in self.necks():
            name = type(neck).__name__
            with self.assertRaisesRegex(ConfigError, rf"^{name}.min_level is 3, but .* levels \[4, 5\]\. Set {name}"):
                neck(pyramid(1, (64, 64), {5: 4, 4: 4}))
            with self.assertRaisesRegex(ConfigError, rf"into {name} .* levels \[3, 5\].* min_level 3 up .* no gap"):
                neck(pyramid(1, (64, 64), {3: 4, 5: 4}))

    def test_levels_outside_the_neck_s_are_left_out(self):
        for neck in self.necks():
            self.assertEqual(list(neck(pyramid(1, (64, 64), {2: 4, 3: 4, 4: 4, 8: 4}))), [3, 4, 5, 6, 7])

    def test_a_whole_model_is_saved_in_one_file(self):
        images = tf.random.stateless_normal([2, 64, 64, 3], [1, 2])
        for neck in self.necks():
            model = _model(neck)
            path = os.path.join(self.get_temp_dir(), "model.keras")
            model.save(path)
            loaded = keras.models.load_model(path)
            self.assertEqual(loaded.layers[-1].get_config(), model.layers[-1].get_config())
            for found, expected in zip(tf.nest.flatten(loaded(images)), tf.nest.flatten(model(images)), strict=True):
                self.assertAllEqual(found, expected)

    @pytest.mark.slow
    def test_trains_in_somebody_else_s_model(self):
        images = tf.random.stateless_normal([4, 64, 64, 3], [1, 2])
        keras.utils.set_random_seed(0)
        for neck in self.necks():
            body = _model(neck)
            pooled = [keras.layers.GlobalAveragePooling2D()(x) for x in tf.nest.flatten(body.output)]
            model = keras.Model(body.input, keras.layers.Dense(1)(keras.layers.Concatenate()(pooled)))
            model.compile(keras.optimizers.Adam(0.003), "mse")
            losses = model.fit(images, tf.reduce_mean(images, [1, 2, 3]), epochs=20, verbose=0).history["loss"]
            self.assertLess(losses[-1], losses[0] / 2, type(neck).__name__)


def _model(neck):
    """A functional model of two convolutions and a neck."""
    images = keras.Input([64, 64, 3])
    fine = keras.layers.Conv2D(3, 3, 8, padding="same")(images)
    coarse = keras.layers.Conv2D(5, 3, 2, padding="same")(fine)
    return keras.Model(images, neck({3: fine, 4: coarse}))


if __name__ == "__main__":
    tf.test.main()
