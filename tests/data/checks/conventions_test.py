import json
import re

import numpy as np
import tensorflow as tf

from tf_frozen.data.checks.conventions import check_convention, check_matches
from tf_frozen.data.paths import resolve

MISTAKES = {
    "corners [x1, y1, x2, y2]": lambda x, y, w, h: (x, y, x + w, y + h),
    "[y, x, height, width]": lambda x, y, w, h: (y, x, h, w),
    "centers [center x, center y, width, height]": lambda x, y, w, h: (x + w / 2, y + h / 2, w, h),
    "corners [y1, x1, y2, x2]": lambda x, y, w, h: (y, x, y + h, x + w),
}


def neon(split):
    """Returns boxes [n, 4] of the trees, and height and width of the image of each [n, 2]."""
    with open(resolve(f"embedded:neon_trees/{split}.json"), encoding="utf-8") as file:
        document = json.load(file)
    sizes = {image["id"]: (image["height"], image["width"]) for image in document["images"]}
    rows = document["annotations"]
    return np.asarray([row["bbox"] for row in rows], float), np.asarray([sizes[row["image_id"]] for row in rows], float)


def scattered(count, least, most, height=300, width=400, part=1.0, seed=0):
    """Returns boxes whose sides are this part of the image's, with their sizes; `part` is where they lie."""
    random = np.random.default_rng(seed)
    sides = random.uniform(least, most, [count, 2]) * [width, height]
    starts = random.uniform(0, part, [count, 2]) * ([width, height] - sides)
    return np.concatenate([starts, sides], axis=1), np.tile([float(height), width], [count, 1])


class CheckConventionTest(tf.test.TestCase):
    def check(self, boxes, sizes):
        return check_convention(np.asarray(boxes).tolist(), [tuple(size) for size in sizes])

    def mistaken(self, boxes, name):
        return np.stack(MISTAKES[name](*np.asarray(boxes).T), axis=1)

    def test_real_boxes_with_each_mistake(self):
        boxes, sizes = neon("val")  # its images are wider than high
        for name in MISTAKES:
            problem = self.check(self.mistaken(boxes, name), sizes)
            self.assertEqual(problem.kind, "other_box_convention", name)
            self.assertIn(f"read as {name}, none would", problem.message)
        self.assertIsNone(self.check(boxes, sizes))

    def test_fractions_of_each_mistake(self):
        boxes, sizes = neon("val")
        boxes /= sizes[:, [1, 0, 1, 0]]
        self.assertStartsWith(self.check(boxes, sizes).message, "277 of 277 boxes lie between 0 and 1")
        for name in ("corners [x1, y1, x2, y2]", "centers [center x, center y, width, height]"):
            problem = self.check(self.mistaken(boxes, name), sizes)
            self.assertEqual(problem.kind, "normalized_boxes")
            self.assertIn(f"read as {name}", problem.message)

    def test_square_images(self):
        boxes, sizes = neon("train")  # 400 x 400
        self.assertIsNone(self.check(boxes, sizes))
        for name in ("corners [x1, y1, x2, y2]", "centers [center x, center y, width, height]"):
            self.assertIn(name, self.check(self.mistaken(boxes, name), sizes).message)

    def test_a_few_odd_rows_hide_nothing(self):
        boxes, sizes = neon("val")
        for name in MISTAKES:
            wrong = self.mistaken(boxes, name)
            wrong[:5] = [[0, 0, 0, 0], [5000, 1, 9, 9], [-4, -50, 9, 9], [0.5, 0.5, 0.1, 0.1], [1, 1, 1e6, 1]]
            self.assertIn(name, self.check(wrong, sizes).message)
        fractions = boxes / sizes[:, [1, 0, 1, 0]]
        fractions[:3] = [[0.3, 0, 0.700001, 1.000001], [0.5, 0.5, 0.0008, 0.002], [9, 9, 40, 40]]
        self.assertIn("276 of 277 boxes lie between 0 and 1", self.check(fractions, sizes).message)

    def test_a_few_fractions_among_pixels_are_a_warning(self):
        boxes, sizes = neon("val")
        boxes[:4] /= 400
        problem = self.check(boxes, sizes)
        self.assertEqual(problem.kind, "some_normalized_boxes")
        self.assertStartsWith(problem.message, "4 of 277 boxes lie within the first pixel")

    def test_corners_that_all_fit_are_a_guess(self):
        boxes, sizes = scattered(40, 0.05, 0.15, part=0.45)
        problem = self.check(self.mistaken(boxes, "corners [x1, y1, x2, y2]"), sizes)
        self.assertEqual(problem.kind, "suspected_box_convention")
        self.assertIn("width and height are larger than x and y in nearly every box", problem.message)
        self.assertIsNone(self.check(boxes, sizes))

    def test_good_boxes_are_never_suspected(self):
        sets = [
            {"count": count, "least": least, "most": most, "part": part, "seed": seed}
            for count in (1, 2, 4, 12, 300)
            for least, most in ((0.002, 0.01), (0.05, 0.2), (0.3, 0.9), (0.9, 1.0))
            for part in (0.02, 0.1, 1.0)
            for seed in range(3)
        ]
        for drawn in sets:
            self.assertIsNone(self.check(*scattered(**drawn)), drawn)
        self.assertIsNone(self.check([[5, 5, 20, 20]] * 4, [[48, 64]] * 4))
        self.assertIsNone(self.check([[0, 0, 400, 300]] * 40, [[300, 400]] * 40))
        # One object in the middle of each image, of images of all sizes: width grows with x in pixels.
        sides = np.random.default_rng(0).uniform(50, 4000, [60, 1])
        self.assertIsNone(self.check(sides * [0.1, 0.1, 0.8, 0.8], sides * [1, 1]))

    def test_boxes_drawn_a_little_beyond_are_of_no_other_convention(self):
        for least in (0.05, 0.5, 0.9):
            boxes, sizes = scattered(300, least, 1.0)
            boxes[:, 2:] += np.random.default_rng(0).uniform(0, 12, [300, 2])
            self.assertIsNone(self.check(boxes, sizes))
        # All of them would fit as centers too.
        at_the_edge = [[362, y, 40, 40] for y in range(50, 200, 5)]
        self.assertIsNone(self.check(at_the_edge, [[300, 400]] * 30))

    def test_without_sizes_or_boxes_nothing_is_guessed_from_what_is_not_there(self):
        boxes, _ = neon("val")
        unknown = [(None, None)] * len(boxes)
        self.assertIsNone(check_convention(boxes.tolist(), unknown))
        self.assertEqual(check_convention((boxes / 500).tolist(), unknown).kind, "normalized_boxes")
        self.assertIsNone(check_convention([], []))
        self.assertIsNone(check_convention([None, [1, 2], "text", [10**400, 1, 1, 1]], [(9, 9)] * 4))


class CheckMatchesTest(tf.test.TestCase):
    """Results beside the objects that they were found for, all as [n, 4] by image."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        boxes, _ = neon("val")
        cls.objects = np.split(boxes, np.arange(40, len(boxes), 40))

    def found(self, noise, seed=0):
        """Results as a detector gives them: shifted and scaled by this part of a box."""
        random = np.random.default_rng(seed)
        return [
            np.abs(boxes + random.normal(0, noise, boxes.shape) * np.tile(boxes[:, 2:], 2)) for boxes in self.objects
        ]

    def check(self, found):
        return check_matches(zip(found, self.objects, strict=True))

    def test_each_mistake_is_found_of_good_and_of_fair_detectors(self):
        for noise in (0.05, 0.25):
            for name, mistake in MISTAKES.items():
                problem = self.check([np.stack(mistake(*boxes.T), axis=1) for boxes in self.found(noise)])
                self.assertEqual(problem.kind, "suspected_box_convention")
                self.assertRegex(problem.message, rf"of the 277 most confident .* read as {re.escape(name)}, \d+ would")

    def test_a_poor_detector_is_not_another_convention(self):
        for noise in (0.05, 0.4, 0.8):
            for seed in range(5):
                self.assertIsNone(self.check(self.found(noise, seed)), noise)
        for seed in range(20):  # anywhere, of any size
            self.assertIsNone(self.check([scattered(60, 0.02, 0.3, seed=seed)[0] for _ in self.objects]), seed)
        for box in ([0, 0, 400, 300], [100, 100, 20, 20], [30, 200, 40, 30]):  # one everywhere
            self.assertIsNone(self.check([np.tile(np.float64(box), [60, 1]) for _ in self.objects]), box)

    def test_only_as_many_results_as_objects_are_judged(self):
        mistaken = [np.stack(MISTAKES["corners [x1, y1, x2, y2]"](*boxes.T), axis=1) for boxes in self.found(0.05)]
        rest = [scattered(500, 0.02, 0.3)[0] for _ in self.objects]
        self.assertIsNotNone(self.check([np.concatenate(both) for both in zip(mistaken, rest, strict=True)]))
        self.assertIsNone(self.check([np.concatenate(both) for both in zip(rest, mistaken, strict=True)]))
        self.assertIsNone(check_matches([]))
        self.assertIsNone(check_matches([(mistaken[0][:6], self.objects[0][:6])]), "six boxes decide nothing")


if __name__ == "__main__":
    tf.test.main()
