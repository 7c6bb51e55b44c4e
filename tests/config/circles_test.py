import tensorflow as tf

from tests.config.toys import RUN, GinTest


class CirclesTest(GinTest):
    def test_every_binding_of_the_circle_is_shown_with_its_place(self):
        for text, places in (
            ("ToyRun.name = %A\nA = %B\nB = [1, %A]", ["run.gin:2: A = %B", "run.gin:3: B = [1, %A]"]),
            ("A = %A\nToyRun.name = %A", ["run.gin:1: A = %A"]),
            (
                "ToyRun.neck = @ToyNeck()\nToyNeck.filters = @ToyRun()",
                ["run.gin:1: ToyRun.neck = @ToyNeck()", "run.gin:2: ToyNeck.filters = @ToyRun()"],
            ),
            ("ToyRun.neck = %A\nA = @ToyRun()", ["run.gin:1: ToyRun.neck = %A", "run.gin:2: A = @ToyRun()"]),
        ):
            with self.subTest(text):
                message = self.fault(self.load, text)
                self.assertCountEqual(message.splitlines()[1:], [f"  {place}" for place in places])

    def test_what_is_used_twice_or_ends_in_a_scope_is_no_circle(self):
        self.load(f"{RUN}ToyRun.data = [%A, %A]\nA = %B\nB = 3")
        self.assertEqual(self.build().data, [3, 3])
        self.load(f"{RUN}ToyRun.data = @inner/ToyRun()\ninner/ToyRun.data = 3")
        self.assertEqual(self.build().data.data, 3)

    def test_what_is_handed_over_to_be_called_later_is_no_circle(self):
        self.load("ToyRun.neck = @ToyRun")
        self.assertEqual(self.build().steps, 1)


if __name__ == "__main__":
    tf.test.main()
