from collections.abc import Callable

import gin
import tensorflow as tf

from tests.config.toys import GinTest


class Animal:
    """What other toys are or make."""


@gin.configurable
class ToyDog(Animal):
    pass


@gin.configurable
def toy_dog() -> ToyDog:
    return ToyDog()


@gin.configurable
def toy_anything():
    return ToyDog()


@gin.configurable
class ToyZoo:
    def __init__(
        self,
        size: tuple[int, int] = (1, 1),
        animal: Animal | None = None,
        new_animal: Callable[[], Animal] = ToyDog,
        animals: tuple[Animal, ...] = (),
        share: float = 0.5,
        **others,
    ):
        self.size, self.animals, self.others = size, animals, others


class BindingTypesTest(GinTest):
    def test_values_of_the_type(self):
        for value in ("size = [2, 3]", "size = %SIZE", "animal = @ToyDog()", "animal = @toy_dog()", "animal = %DOG"):
            self.load(f"ToyZoo.{value}\n", *(["SIZE = (2, 3)"] if "SIZE" in value else []), *self.dog(value))
        for value in (
            "animal = None",
            "animal = @toy_anything()",
            "new_animal = @ToyDog",
            "new_animal = @toy_dog",
            "animals = [@ToyDog(), %DOG]",
            "share = 1",
            "size = %gin.REQUIRED",
            "color = 'red'",
        ):
            self.load(f"ToyZoo.{value}\n", *self.dog(value))

    def dog(self, value):
        return ["DOG = @ToyDog()"] if "%DOG" in value else []

    def test_values_of_another_type_are_shown_with_their_place_and_what_was_meant(self):
        for value, message in (
            ("size = 3", "ToyZoo.size is 3; it must be a sequence of 2 integers. Did you mean (3, 3)?"),
            ("size = (1, 'a')", "ToyZoo.size is (1, 'a'); it must be a sequence of 2 integers."),
            ("share = '1'", "ToyZoo.share is '1'; it must be a number. Did you mean 1?"),
            (
                "animal = @ToyDog",
                "ToyZoo.animal is the class ToyDog; it must be an instance of Animal or None. Did you mean ToyDog()?",
            ),
            ("animal = @ToyNeck()", "ToyZoo.animal is @ToyNeck(); it must be an instance of Animal or None."),
            ("size = @toy_dog()", "ToyZoo.size is @toy_dog(); it must be a sequence of 2 integers."),
            ("new_animal = @ToyDog()", "ToyZoo.new_animal is @ToyDog(); it must be a function or class. Leave out the"),
        ):
            with self.subTest(value):
                text = self.fault(self.load, f"\nToyZoo.{value}")
                self.assertStartsWith(text, f"run.gin:2: {message}")
                self.assertEndsWith(text, f"\n    ToyZoo.{value}")

    def test_the_value_of_a_macro_is_shown_where_it_is_given(self):
        text = self.fault(self.load, "ToyZoo.size = %A\nA = %B\nB = 1", "B = 512")
        self.assertStartsWith(
            text, "`gin_params` 1: B is 512; it must be a sequence of 2 integers. Did you mean (512, 512)?"
        )
        self.assertIn("ToyZoo.size (run.gin:1) takes its value.", text)

    def test_all_faults_are_listed(self):
        text = self.fault(self.load, "ToyZoo.size = 3\nbig/ToyZoo.share = 'a'")
        self.assertIn("run.gin:1: ", text)
        self.assertIn("run.gin:2: big/ToyZoo.share is 'a'", text)


if __name__ == "__main__":
    tf.test.main()
