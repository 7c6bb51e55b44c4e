import tensorflow as tf

from tf_frozen.data.checks.boxes import check_box

NAN, INFINITY = float("nan"), float("inf")


class CheckBoxTest(tf.test.TestCase):
    def kind(self, box):
        problem = check_box(box, height=100, width=200)
        return problem and problem.kind

    def test_boxes_inside_or_up_to_one_pixel_beyond_are_good(self):
        for box in ([0, 0, 200, 100], [-1, -1, 202, 102], [199.5, 99.5, 1.5, 1.5], [50, 50, 0.01, 0.01]):
            self.assertIsNone(self.kind(box), box)

    def test_more_than_one_pixel_beyond_each_edge(self):
        for edge, box in {
            "left": [-1.5, 10, 20, 20],
            "top": [10, -1.5, 20, 20],
            "right": [190, 10, 11.5, 20],
            "bottom": [10, 90, 20, 11.5],
        }.items():
            problem = check_box(box, height=100, width=200)
            self.assertEqual(problem.kind, "box_outside_image")
            self.assertIn(f"1.5 px beyond the {edge} edge of the image, 200 px wide and 100 high", problem.message)

    def test_a_box_that_is_to_be_clipped_is_a_warning_if_any_of_it_shows(self):
        beyond = check_box([190, 10, 14, 20], height=100, width=200, clip=True)
        self.assertEqual(beyond.kind, "clipped_box")
        self.assertEqual(
            beyond.message, "the box reaches 4.0 px beyond the right edge of the image and is clipped to it"
        )
        self.assertEqual(check_box([210, 10, 14, 20], height=100, width=200, clip=True).kind, "box_outside_image")
        self.assertIsNone(check_box([190, 10, 10, 20], height=100, width=200, clip=True))

    def test_a_box_in_the_tolerated_margin_only(self):
        self.assertEqual(self.kind([200, 10, 1, 20]), "box_outside_image")
        self.assertEqual(self.kind([10, -1, 20, 1]), "box_outside_image")

    def test_two_corners_in_place_of_a_size(self):
        self.assertEqual(self.kind([150, 60, 190, 90]), "box_outside_image")

    def test_no_area(self):
        for box in ([10, 10, 0, 20], [10, 10, 20, 0.0], [10, 10, -5, 20], [10, 10, 20, 1e-9]):
            self.assertEqual(self.kind(box), "box_without_area")

    def test_not_finite(self):
        for box in ([NAN, 1, 2, 3], [1, 2, INFINITY, 3], [1, -INFINITY, 2, 3], [1, 2, 3, 10**400], [1, 2, 1e300, 4]):
            self.assertEqual(self.kind(box), "non_finite_box")

    def test_malformed(self):
        for box in (
            None,
            [],
            [1, 2, 3],
            [1, 2, 3, 4, 5],
            ["1", 2, 3, 4],
            [1, 2, None, 4],
            "1 2 3 4",
            {},
            [True] * 4,
        ):
            self.assertEqual(self.kind(box), "malformed_box")

    def test_without_a_size_only_the_box_itself_is_checked(self):
        self.assertIsNone(check_box([1e6, 1e6, 5, 5], None, None))
        self.assertEqual(check_box([1e6, 1e6, 0, 5], None, None).kind, "box_without_area")


if __name__ == "__main__":
    tf.test.main()
