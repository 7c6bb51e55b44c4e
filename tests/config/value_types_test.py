import importlib
import inspect
import math
import pkgutil
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence

import gin
import numpy as np
import tensorflow as tf

import tf_frozen
from tf_frozen.config.configurables import parameters
from tf_frozen.config.external import is_external
from tf_frozen.config.gin_internals import construction, registered
from tf_frozen.config.load import load_config
from tf_frozen.config.ranges import Fraction, PositiveFloat, PositiveInt, Rate
from tf_frozen.config.value_types import describe, fault, fits, parameter_types
from tf_frozen.errors import ConfigError
from tf_frozen.layers.configured import Configured


def numbers_in(expected, make=lambda number: number) -> Iterator[tuple]:
    """The numbers in an annotated type: int or float, the range, and what makes a value of the type of one."""
    origin, inner = typing.get_origin(expected), typing.get_args(expected)
    if origin is typing.Annotated:
        yield inner[0], inner[1], make
    elif expected in (int, float):
        yield expected, None, make
    elif isinstance(origin, type) and issubclass(origin, tuple) and inner[-1] is not Ellipsis:
        for place, kind in enumerate(inner):
            rest = ["a" if each is str else 1 for each in inner]
            yield from numbers_in(kind, lambda x, i=place, rest=rest: make((*rest[:i], x, *rest[i + 1 :])))
    elif isinstance(origin, type) and issubclass(origin, Sequence):
        yield from numbers_in(inner[0], lambda number: make((number,)))
    elif origin in (typing.Union, types.UnionType):
        for kind in inner:
            yield from numbers_in(kind, make)


def out_of_range(kind, limits):
    """Numbers just outside of a range, one far outside, and a fraction and True for integers."""
    if kind is int:
        return [limits.least - 1, limits.most + 1, limits.least + 0.5, True, 10**40]
    ends = [limits.least - (not limits.above) * 1e-3 * max(1, abs(limits.least))]
    return [*ends, limits.most * (1 if limits.below else 1.001), 10**40]


class FitsTest(tf.test.TestCase):
    def test_values_of_the_type(self):
        for value, expected in (
            (3, int),
            (np.int64(3), int),
            (3, float),
            (np.float32(0.5), float),
            ("a", str),
            (None, int | None),
            (None, typing.Optional[int]),  # noqa: UP045
            ((1, 2), tuple[int, int]),
            ([1, 2], tuple[int, int]),
            ((), tuple[int, ...]),
            ([0.5, 1], Sequence[float]),
            (np.array([0.5, 1]), Sequence[float]),
            (((1, 2), [3]), Sequence[Sequence[float]]),
            ([(1, "a")], Sequence[tuple]),
            (len, Callable),
            (dict, Callable[[], Mapping]),
            ({"a": 1}, Mapping[str, int]),
            ("b", typing.Literal["a", "b"]),
            (object(), typing.Any),
            (object(), typing.TypeVar("Anything")),
        ):
            with self.subTest(f"{value!r} as {expected}"):
                self.assertTrue(fits(value, expected))

    def test_values_of_another_type(self):
        for value, expected, words in (
            (3.0, int, "an integer"),
            (True, int, "an integer"),
            (True, float, "a number"),
            ("3", float, "a number"),
            (3, str, "a string"),
            (1, bool, "True or False"),
            ("a", int | None, "an integer or None"),
            ((1, 2, 3), tuple[int, int], "a sequence of 2 integers"),
            ((1, 0.5), tuple[int, ...], "a sequence of integers"),
            (0.5, Sequence[float], "a sequence of numbers"),
            ("ab", Sequence[str], "a sequence of strings"),
            ({1: 2}, Sequence[float], "a sequence of numbers"),
            ((1, 2), Sequence[Sequence[float]], "a sequence of sequences of numbers"),
            ((1,), Sequence[tuple], "a sequence of sequences"),
            (("a", "b"), Sequence[tuple[str, str]], "a sequence of sequences of 2 strings"),
            ((("a", "b"),), Sequence[tuple[str, int]], "a sequence of sequences of a string and an integer"),
            (3, Callable[[], int], "a function or class"),
            (dict, dict, "an instance of dict"),
            ("c", typing.Literal["a", "b"], "'a' or 'b'"),
            (0, PositiveInt, "an integer from 1 to 2147483647"),
            (2**31, PositiveInt | None, "an integer from 1 to 2147483647 or None"),
            (float("inf"), PositiveFloat, "a finite number above 0"),
            (float("nan"), Fraction, "a number from 0 to 1"),
            (1, Rate, "a number from 0 and below 1"),
            ((0.5, 7), Sequence[Fraction], "a sequence of numbers from 0 to 1"),
            ((0, 5), tuple[PositiveInt, PositiveInt], "a sequence of 2 integers from 1 to 2147483647"),
        ):
            with self.subTest(f"{value!r} as {expected}"):
                self.assertFalse(fits(value, expected))
                self.assertEqual(describe(expected), words)

    def test_the_message_has_what_was_likely_meant(self):
        self.assertEqual(
            fault("Neck.ratios", 0.5, Sequence[float]),
            "Neck.ratios is 0.5; it must be a sequence of numbers. Did you mean (0.5,)?",
        )
        self.assertEndsWith(fault("frame", 512, tuple[int, int] | None), "Did you mean (512, 512)?")
        self.assertEndsWith(fault("steps", "600", int), "Did you mean 600?")
        self.assertEndsWith(fault("norm", dict, dict | None), "Did you mean dict()?")
        self.assertEndsWith(fault("steps", "many", int), "it must be an integer.")
        self.assertLess(len(fault("steps", "many " * 1000, int)), 200)


class EveryConfigurableTest(tf.test.TestCase):
    """What holds for every class and function of the package that gin may configure."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for module in pkgutil.walk_packages(tf_frozen.__path__, "tf_frozen."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
        ours = ("tf_frozen.", "tf_keras.")
        cls.configurables = [one for one in registered() if one.wrapped.__module__.startswith(ours) or is_external(one)]

    def setUp(self):
        super().setUp()
        self.addCleanup(gin.clear_config)

    def test_no_two_share_a_name_so_that_saved_configurations_name_no_modules(self):
        names = [configurable.name for configurable in self.configurables]
        self.assertCountEqual(names, set(names))

    def wrong_values(self):
        """A configurable, the name of a parameter, and a value that is not of its type, for each that has one."""
        for configurable in self.configurables:
            types = parameter_types(construction(configurable))
            for name in set(parameters(configurable)[0]) & set(types):
                takes_text = str in (types[name], *typing.get_args(types[name]))
                if types[name] is not typing.Any:
                    yield configurable, name, 0.5 if takes_text else "wrong"

    def numbers(self):
        """A configurable, the name of a parameter, the range of a number in it, and what makes a value of a number."""
        for configurable in self.configurables:
            types = parameter_types(construction(configurable))
            for name in parameters(configurable)[0]:
                for kind, limits, make in numbers_in(types.get(name, typing.Any)):
                    yield configurable, name, kind, limits, make

    def test_numbers_have_a_range(self):
        found = list(self.numbers())
        self.assertGreater(len(found), 150)
        for configurable, name, _, limits, _ in found:
            self.assertIsNotNone(limits, f"{configurable.selector}.{name} takes any number")

    def test_defaults_are_in_range(self):
        for configurable in self.configurables:
            types = parameter_types(construction(configurable))
            for name, parameter in inspect.signature(construction(configurable)).parameters.items():
                if parameter.default not in (inspect.Parameter.empty, gin.REQUIRED):
                    expected = types.get(name, typing.Any)
                    self.assertTrue(fits(parameter.default, expected), f"{configurable.selector}.{name}")
                    if isinstance(parameter.default, int | float):
                        self.assertIn(name, types, f"{configurable.selector}.{name}")

    def test_gin_refuses_numbers_out_of_range_when_it_reads_them(self):
        for configurable, name, kind, limits, make in self.numbers():
            for number in (*out_of_range(kind, limits), "1e999"):
                line = f"{configurable.selector}.{name} = {make(number)!r}".replace("'1e999'", "1e999")
                with self.assertRaises(ConfigError, msg=line) as raised:
                    load_config([], [line])
                self.assertStartsWith(str(raised.exception), f"`gin_params` 1: {configurable.selector}.{name} is ")
                self.assertIn(limits.describe("").strip(), str(raised.exception))

    def test_constructors_refuse_them_in_python(self):
        for configurable, name, kind, limits, make in self.numbers():
            if inspect.isclass(configurable.wrapped):
                for number in (*out_of_range(kind, limits), math.nan, math.inf):
                    with self.assertRaisesRegex(ConfigError, rf"^{configurable.name}\.{name} is .*; it must be "):
                        configurable.wrapped(**{name: make(number)})

    def test_all_parameters_are_annotated(self):
        self.assertGreater(len(self.configurables), 20)
        for configurable in (one for one in self.configurables if not is_external(one)):
            known = parameter_types(construction(configurable))
            self.assertContainsSubset(parameters(configurable)[0], known)

    def test_gin_refuses_values_of_another_type_when_it_reads_them(self):
        for configurable, name, wrong in self.wrong_values():
            line = f"{configurable.selector}.{name} = {wrong!r}"
            with self.subTest(line), self.assertRaises(ConfigError) as raised:
                load_config([], [line])
            self.assertStartsWith(str(raised.exception), f"`gin_params` 1: {configurable.selector}.{name} is {wrong!r}")
            self.assertEndsWith(str(raised.exception), f"\n    {line}")

    def test_layers_refuse_them_in_python(self):
        layers = [row for row in self.wrong_values() if Configured in getattr(row[0].wrapped, "__mro__", ())]
        self.assertGreater(len(layers), 100)
        for configurable, name, wrong in layers:
            with (
                self.subTest(f"{configurable.name}.{name}"),
                self.assertRaisesRegex(ConfigError, f"{configurable.name}.{name} is {wrong!r}; it must be "),
            ):
                configurable.wrapped(**{name: wrong})


if __name__ == "__main__":
    tf.test.main()
