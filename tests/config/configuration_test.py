"""Tests of config/configuration.py."""

import gin

from tests.config import toys
from tf_frozen.config import bindings
from tf_frozen.config.computed import pin_macro
from tf_frozen.config.configuration import Configuration


class ConfigurationTest(toys.GinTest):
    def read(self, *gin_params):
        configuration = Configuration()
        with configuration.active():
            self.load(toys.RUN, *gin_params)
        return configuration

    def test_two_stand_beside_each_other_and_beside_gin_s_own(self):
        self.load(toys.RUN, "ToyNeck.filters = 1")
        before, known = gin.config_str(), dict(bindings.bindings)
        one, two = self.read("ToyNeck.filters = 2"), self.read("TRAIN_STEPS = 7")
        for configuration, filters, steps in ((one, 2, 100), (two, 16, 7), (one, 2, 100)):
            with configuration.active(), gin.config_scope("other"), configuration.active():
                made = self.build()
            self.assertEqual((made.neck.filters, made.steps), (filters, steps))
        self.assertEqual(gin.config_str(), before)
        self.assertEqual(bindings.bindings, known)
        self.assertEqual(gin.operative_config_str().strip(), "")
        self.assertEqual(self.build().neck.filters, 1)

    def test_what_is_bound_while_it_is_active_stays_in_it(self):
        configuration = self.read()
        with configuration.active():
            pin_macro("TRAIN_STEPS", 100, "the length")
            gin.bind_parameter("ToyNeck.repeats", 5)
        with configuration.active():
            self.assertEqual(self.build().neck.repeats, 5)
        self.assertEqual(toys.ToyNeck().repeats, 3)

    def test_an_error_leaves_gin_as_it_was_and_locked(self):
        self.load(toys.RUN)
        gin.finalize()
        before = gin.config_str()
        with self.assertRaises(ZeroDivisionError), self.read("ToyNeck.filters = 2").active():
            gin.bind_parameter("ToyNeck.filters", 1 / 0)
        self.assertEqual(gin.config_str(), before)
        self.assertTrue(gin.config_is_locked())
        self.assertIsNone(Configuration.current)
