from unittest import mock

import numpy as np
import tensorflow as tf

from tf_frozen.export import drawing
from tf_frozen.export.fonts import fitting
from tf_frozen.export.masks import to_rles

GREY = (90, 90, 90)
NO_BOXES = np.zeros((0, 4), np.float32)


def plain(height, width):
    return np.full((height, width, 3), GREY, np.uint8)


def colored(image, color):
    return np.all(image == np.array(color, np.uint8), axis=-1)


class DrawTest(tf.test.TestCase):
    def test_edges_have_the_color_and_lie_inside_the_box(self):
        image = drawing.draw(plain(200, 300), np.array([[50, 60, 150, 200]]), ["tree"], [0.9])
        edge = colored(image, drawing.class_color(0))
        self.assertTrue(edge[50, 60:200].all() and edge[149, 60:200].all())
        self.assertTrue(edge[50:150, 60].all() and edge[50:150, 199].all())
        self.assertFalse(edge[150:].any() or edge[:, 200:].any() or edge[:, :60].any())
        self.assertAllEqual(image[55:145, 65:195], plain(90, 130))

    def test_masks_tint_what_lies_under_them_and_better_ones_lie_on_top(self):
        left, right = np.zeros([2, 200, 300])
        left[60:150, 70:150] = right[60:150, 120:190] = 1
        rles = to_rles([left, right], [[0, 0, 200, 300]] * 2, 200, 300)
        boxes, names = np.array([[50, 60, 160, 200]] * 2), ["tree", "bush"]
        drawn = drawing.draw(plain(200, 300), boxes, names, [0.9, 0.3], segmentations=rles, classes=[0, 1])
        colors = [np.array(drawing.class_color(number)) for number in (0, 1)]
        over_grey = [0.55 * np.array(GREY) + 0.45 * color for color in colors]
        self.assertAllClose(drawn[100, 100], over_grey[0], atol=1)
        self.assertAllClose(drawn[100, 170], over_grey[1], atol=1)
        self.assertAllClose(drawn[100, 135], 0.55 * over_grey[1] + 0.45 * colors[0], atol=1)
        self.assertAllEqual(drawn[170:], plain(30, 300))

    def test_does_not_change_the_image_or_boxes(self):
        image, boxes = plain(100, 100), np.array([[10.0, 10, 50, 50]], np.float32)
        drawn = drawing.draw(image, boxes, ["tree"], [0.9], boxes)
        self.assertAllEqual(image, plain(100, 100))
        self.assertAllEqual(boxes, [[10, 10, 50, 50]])
        self.assertEqual((drawn.dtype, drawn.shape), (np.uint8, (100, 100, 3)))
        drawn[:] = 0

    def test_ground_truth_is_thinner_and_of_another_color(self):
        image = drawing.draw(plain(1000, 1000), NO_BOXES, [], [], np.array([[100, 100, 300, 300]]))
        truth = colored(image, drawing.GROUND_TRUTH_COLOR)
        self.assertTrue(truth[100, 100:300].all())
        image = drawing.draw(plain(1000, 1000), np.array([[100, 100, 300, 300]]), ["tree"], [0.9])
        self.assertFalse(colored(image, drawing.GROUND_TRUTH_COLOR).any())
        found = colored(image, drawing.class_color(0))
        self.assertGreater(found[200, :200].sum(), truth[200, :200].sum())
        self.assertGreater(truth[200, :200].sum(), 0)

    def test_lines_and_labels_grow_with_the_image(self):
        heights, widths = [], []
        for side in (100, 1000, 4000):
            box = np.array([[0.5, 0.25, 0.9, 0.75]]) * side
            found = colored(drawing.draw(plain(side, side), box, ["tree"], [0.9]), drawing.class_color(0))
            widths.append(found[int(0.7 * side), : side // 2].sum())
            heights.append(side // 2 - np.flatnonzero(found.any(axis=1))[0])
        self.assertEqual(widths, [1, 4, 16])
        self.assertEqual(heights, sorted(heights))
        self.assertGreaterEqual(heights[0], 10)
        self.assertGreater(heights[2], 3 * heights[1])

    def test_boxes_partly_or_wholly_outside(self):
        boxes = np.array([[-50, -50, 50, 50], [80, 80, 1e9, np.inf], [500, 500, 600, 600]])
        image = drawing.draw(plain(200, 200), boxes, ["a", "b", "c"], [0.9, 0.8, 0.7], classes=[0, 1, 2])
        self.assertTrue(colored(image, drawing.class_color(0))[49, 30:50].all())
        self.assertFalse(colored(image, drawing.class_color(0))[20:48, 0].any())
        self.assertTrue(colored(image, drawing.class_color(1))[80:, 80].all())
        self.assertTrue(colored(image, drawing.class_color(1))[80, 80:].all())

    def test_nothing_to_draw_gives_the_same_image(self):
        self.assertAllEqual(drawing.draw(plain(40, 30), NO_BOXES, [], []), plain(40, 30))
        self.assertAllEqual(drawing.draw(plain(40, 30), [], [], [], NO_BOXES), plain(40, 30))

    def test_tiny_images_and_boxes_without_area(self):
        boxes = np.array([[3, 3, 3, 3], [0, 0, 5, 5], [4, 4, 2, 2]])
        drawn = drawing.draw(plain(5, 5), boxes, ["a", "long name", "Bär 猫"], [0.5] * 3, boxes)
        self.assertEqual(drawn.shape, (5, 5, 3))

    def test_labels_of_boxes_at_the_border_stay_inside(self):
        boxes = np.array([[0, 180, 60, 200]])
        image = drawing.draw(plain(200, 200), boxes, ["tree"], [0.9])
        rows, columns = np.nonzero(colored(image, drawing.class_color(0)))
        self.assertLess(columns.min(), 170)
        self.assertEqual((rows.min(), columns.max()), (0, 199))
        self.assertLess(image.min(), 60)

    def test_the_best_box_lies_on_top(self):
        boxes = np.array([[50, 50, 150, 150], [50, 50, 150, 150]])
        for scores, top in (([0.9, 0.2], 0), ([0.2, 0.9], 1)):
            image = drawing.draw(plain(200, 200), boxes, ["tree", "car"], scores, classes=[0, 1])
            self.assertAllEqual(image[149, 100], drawing.class_color(top))

    def test_colors_of_classes_differ_and_carry_black_text(self):
        colors = np.array([drawing.class_color(number) for number in range(80)], float)
        gaps = np.linalg.norm(colors[:, None] - colors, axis=-1) + 1e3 * np.eye(80)
        self.assertGreater(gaps[:20, :20].min(), 70)
        self.assertGreater(gaps.min(), 45)
        self.assertGreater((colors @ [0.299, 0.587, 0.114]).min(), 110)

    def test_labels_cover_neither_each_other_nor_small_boxes(self):
        """Twelve objects of 14 pixels, 60 apart, and one in whose middle they lie."""
        small = [[y, x, y + 14, x + 14] for y in (60, 120, 180) for x in (60, 120, 180, 240)]
        boxes = np.array([*small, [40, 40, 210, 270]], float)
        with mock.patch.object(drawing.ImageDraw.ImageDraw, "text", autospec=True) as text:
            image = drawing.draw(plain(260, 320), boxes, ["tree"] * 13, np.linspace(0.9, 0.5, 13))
        for y1, x1, y2, x2 in small:
            self.assertAllEqual(image[y1 + 1 : y2 - 1, x1 + 1 : x2 - 1], plain(12, 12))
        self.assertGreater(text.call_count, 8)
        font = text.call_args.kwargs["font"]
        tops, lefts = np.array([call.args[1] for call in text.call_args_list])[:, ::-1].T
        apart = np.abs(tops[:, None] - tops) >= drawing._text_height(font)
        apart |= np.abs(lefts[:, None] - lefts) >= font.getlength("tree 0.90")
        self.assertTrue((apart | np.eye(len(tops), dtype=bool)).all())

    def test_each_label_has_the_font_of_its_own_characters(self):
        boxes = np.array([[40, 40, 90, 250], [110, 40, 160, 250]])
        with mock.patch.object(drawing.ImageDraw.ImageDraw, "text", autospec=True) as text:
            drawing.draw(plain(200, 300), boxes, ["tree", "кот"], [0.9, 0.8])
        written = {call.args[2]: call.kwargs["font"].getname()[0] for call in text.call_args_list}
        self.assertEqual(written, {"tree 0.90": fitting("tree", 9)[0].getname()[0], "кот 0.80": "DejaVu Sans"})

    def test_half_a_pair_of_utf_16_is_escaped(self):
        box = np.array([[40, 40, 150, 250]])
        found, expected = (drawing.draw(plain(200, 300), box, [name], [0.9]) for name in ("\ud83d", r"\ud83d"))
        self.assertAllEqual(found, expected)

    def test_as_many_labels_and_scores_as_boxes(self):
        with self.assertRaises(ValueError):
            drawing.draw(plain(20, 20), np.ones((2, 4)), ["one"], [0.5])


class SheetTest(tf.test.TestCase):
    def test_every_image_lies_in_its_row_and_column(self):
        images = [np.full((30 + n, 40, 3), 50 * n + 40, np.uint8) for n in range(4)]
        canvas = drawing.sheet(images, 3)
        places = []
        for image in images:
            ys, xs = np.nonzero(colored(canvas, image[0, 0]))
            self.assertLen(ys, image.shape[0] * image.shape[1])
            places.append((ys.min(), xs.min()))
        (y0, x0), (y1, x1), (y2, x2), (y3, x3) = places
        self.assertTrue(y0 == y1 == y2 < y3 and x0 == x3 < x1 < x2)

    def test_captions_add_text_below(self):
        without = drawing.sheet([plain(40, 80)], 1)
        canvas = drawing.sheet([plain(40, 80)], 1, ["a very long caption that is cut at the end"])
        self.assertEqual(canvas.shape[1], without.shape[1])
        ys, xs = np.nonzero(colored(canvas, (255, 255, 255)))
        self.assertGreater(ys.min(), 45)
        self.assertLess(ys.max(), canvas.shape[0] - 1)
        self.assertLess(xs.max(), 86)

    def test_large_images_shrink_and_small_ones_stay(self):
        canvas = drawing.sheet([plain(300, 600), plain(20, 30)], 2, side=60)
        self.assertEqual(colored(canvas, GREY).sum(), 30 * 60 + 20 * 30)

    def test_fewer_images_than_columns(self):
        self.assertAllEqual(drawing.sheet([plain(9, 9)], 5), drawing.sheet([plain(9, 9)], 1))

    def test_what_cannot_be_a_sheet(self):
        for images, columns, captions in (
            ([], 2, []),
            ([plain(9, 9)], 0, []),
            ([plain(9, 9)], 1, ["a", "b"]),
        ):
            with self.assertRaises(ValueError):
                drawing.sheet(images, columns, captions)


if __name__ == "__main__":
    tf.test.main()
