import numpy as np
import tensorflow as tf

from tf_frozen.data.augmentation.scale_jitter import ScaleJitter
from tf_frozen.geometry.resample import PADDING

FRAME = (48, 64)
BOX = np.float32([24, 30, 36, 54])


def image():
    """60 × 80 pixels of the padding's colour, and in BOX 100 more."""
    picture = np.tile(np.float32(PADDING), [60, 80, 1])
    picture[24:36, 30:54] += 100.0
    return picture


def coordinates():
    """60 × 80 pixels that hold the (y, x) of their centres."""
    return np.stack([*np.indices([60, 80]) + 0.5, np.zeros([60, 80])], -1).astype(np.float32)


class ScaleJitterTest(tf.test.TestCase):
    def draws(self, count, minimum, maximum, boxes=BOX[np.newaxis], frame=FRAME, crop=None, picture=None, **arguments):
        jitter = ScaleJitter(minimum, maximum, **arguments)
        picture = image() if picture is None else picture
        for number in range(count):
            objects = {"boxes": tf.constant(boxes)}
            framed, objects, *drawn = jitter(picture, objects, frame, crop or frame, tf.constant([9, number]))
            yield [value.numpy() for value in (framed, objects["boxes"], *drawn)]

    def assertHoldsTheMarker(self, framed, box):
        """The marker's centroid and its extent are the box's."""
        marker = (framed - np.float32(PADDING)).mean(-1) / 100.0
        y, x = (np.sum(marker * grid) / marker.sum() for grid in np.indices(marker.shape) + 0.5)
        self.assertAllClose([y, x], [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2], atol=0.1)
        rows, columns = (np.flatnonzero(marker.max(axis) > 0.5) for axis in (1, 0))
        edges = [rows[0], columns[0], rows[-1] + 1, columns[-1] + 1]
        self.assertAllClose(edges, box, atol=0.6)

    def test_boxes_move_with_the_pixels(self):
        whole = 0
        for framed, boxes, stay, size, scale in self.draws(60, 0.5, 1.8, aspect=0.3):
            area = np.prod(boxes[0, 2:] - boxes[0, :2])
            if np.isclose(area, scale**2 * 12 * 24, rtol=1e-3):  # not cut
                self.assertTrue(stay[0])
                self.assertHoldsTheMarker(framed, boxes[0])
                self.assertAllInRange(boxes[0], 0.0, [*size, *size])
                whole += 1
        self.assertGreater(whole, 30)

    def test_a_box_that_is_cut_ends_with_the_frame(self):
        cut = 0
        for framed, boxes, stay, _, scale in self.draws(60, 1.5, 2.5):
            area = np.prod(boxes[0, 2:] - boxes[0, :2])
            if stay[0] and area < 0.9 * scale**2 * 12 * 24:
                marker = (framed - np.float32(PADDING)).mean(-1) > 50.0
                self.assertAllClose(marker.sum(), area, atol=0.6 * 2 * sum(boxes[0, 2:] - boxes[0, :2]))
                cut += 1
        self.assertGreater(cut, 5)

    def test_scale_is_relative_to_what_fills_the_frame(self):
        """An image of 60 × 80 fills a frame of 48 × 64 at 0.8, and one of 30 × 64 at 0.5."""
        for frame, fills in ((FRAME, 0.8), ((30, 64), 0.5)):
            ((_, boxes, stay, size, scale),) = self.draws(1, 1.0, 1.0, frame=frame)
            self.assertAllClose(scale, fills)
            self.assertAllClose(size, [60 * fills, 80 * fills])
            self.assertAllClose(boxes, [BOX * fills])
            self.assertAllEqual(stay, [True])

    def test_scales_are_spread_evenly_between_the_limits(self):
        scales = [scale / 0.8 for *_, scale in self.draws(300, 0.5, 1.5)]
        self.assertAllInRange(scales, 0.5, 1.5)
        self.assertAllClose(np.quantile(scales, [0.25, 0.5, 0.75]), [0.75, 1.0, 1.25], atol=0.08)

    def test_what_is_smaller_is_padded_below_and_on_the_right(self):
        white = np.full([60, 80, 3], 255.0, np.float32)
        for framed, _, _, size, scale in self.draws(5, 0.4, 0.6, picture=white):
            self.assertAllClose(size, [60 * scale, 80 * scale])
            height, width = np.ceil(size + 1.0).astype(int)
            self.assertAllClose(framed[: height - 2, : width - 2], white[: height - 2, : width - 2], atol=0.01)
            for outside in (framed[height:], framed[:, width:]):
                self.assertAllClose(outside, np.broadcast_to(PADDING, outside.shape), atol=0.01)

    def test_what_is_larger_fills_the_frame(self):
        white = np.full([60, 80, 3], 255.0, np.float32)
        for framed, _, _, size, _ in self.draws(10, 1.1, 2.0, picture=white):
            self.assertAllClose(size, FRAME, atol=0.5)
            self.assertAllClose(framed[:-1, :-1], white[: FRAME[0] - 1, : FRAME[1] - 1], atol=0.01)

    def test_a_crop_is_smaller_than_the_frame_and_keeps_its_scale(self):
        for framed, boxes, _, size, scale in self.draws(20, 1.0, 1.0, crop=(32, 32)):
            self.assertEqual(framed.shape, (32, 32, 3))
            self.assertAllClose(scale, 0.8)
            self.assertAllClose(size, [32, 32], atol=0.5)
            if np.isclose(np.prod(boxes[0, 2:] - boxes[0, :2]), 0.8**2 * 12 * 24):
                self.assertHoldsTheMarker(framed, boxes[0])

    def test_crops_come_from_everywhere_whatever_the_scale(self):
        drawn = []
        for framed, *_, scale in self.draws(300, 1.5, 2.5, picture=coordinates()):
            free = np.float32([60, 80]) * scale - FRAME
            drawn.append([scale, *((framed[0, 0, :2] * scale - 0.5) / free)])
        scales, *places = np.transpose(drawn)
        for place in places:
            self.assertAllClose(np.quantile(place, [0, 0.25, 0.5, 0.75, 1]), [0, 0.25, 0.5, 0.75, 1], atol=0.09)
        # Of 300 independent pairs the correlation has a standard deviation of 0.058.
        correlations = np.corrcoef([scales, *places])[np.triu_indices(3, 1)]
        self.assertAllInRange(correlations, -0.2, 0.2)

    def test_min_visible_is_the_part_of_a_box_s_area_that_must_remain(self):
        boxes = np.float32([[0, 10, 60, 30], [20, 30, 40, 50], [5, 50, 55, 70]])
        for part in (0.0, 0.3, 0.7):
            draws = self.draws(
                20, 1.0, 1.0, boxes, frame=(60, 80), crop=(60, 40), picture=coordinates(), min_visible=part
            )
            for framed, clipped, stay, *_ in draws:
                left = framed[0, 0, 1] - 0.5
                inside = np.clip(boxes - [0, left, 0, left], 0, [60, 40, 60, 40])
                self.assertAllClose(clipped, inside, atol=1e-3)
                visible = (inside[:, 3] - inside[:, 1]) / 20.0
                self.assertAllEqual(stay, (visible > 0) & (visible >= part - 1e-6))

    def test_an_image_without_boxes(self):
        ((_, boxes, stay, *_),) = self.draws(1, 0.5, 2.0, boxes=np.zeros([0, 4], np.float32))
        self.assertEqual((boxes.shape, stay.shape), ((0, 4), (0,)))

    def draws_of_a_mask(self, mask):
        """Crops of half the width of 60 × 80 pixels, whose one box is all of them: left edge, mask, and if it stays."""
        objects = {"boxes": tf.constant([[0.0, 0, 60, 80]]), "masks": tf.constant(np.uint8([mask]))}
        for number in range(20):
            framed, placed, stay, *_ = ScaleJitter(1.0, 1.0)(
                coordinates(), objects, (60, 80), (60, 40), tf.constant([9, number])
            )
            yield float(framed[0, 0, 1]) - 0.5, placed["masks"][0].numpy(), bool(stay[0])

    def test_masks_are_cut_with_their_boxes(self):
        stripes = np.tile(np.repeat([0, 1, 0, 1], 8), [32, 1])
        lefts = set()
        for left, mask, stay in self.draws_of_a_mask(stripes):
            expected = (left + 40 * (np.arange(32) + 0.5) / 32) // 20 % 2
            self.assertLessEqual(np.sum(mask[0] != expected), 2)  # a column on either side of the stripe within
            self.assertAllEqual(mask, np.tile(mask[:1], [32, 1]))
            self.assertEqual((mask.dtype, stay), (np.uint8, True))
            lefts.add(round(left))
        self.assertGreater(len(lefts), 5)

    def test_an_object_outside_the_crop_goes_even_where_its_box_is_cut(self):
        """An object in the left fifth of a box that is as wide as the picture: up to column 16."""
        mask = np.zeros([10, 10])
        mask[:, :2] = 1
        drawn = [(left, stay) for left, _, stay in self.draws_of_a_mask(mask) if abs(left - 16) > 3]
        self.assertEqual([stay for _, stay in drawn], [left < 16 for left, _ in drawn])
        self.assertEqual({stay for _, stay in drawn}, {True, False})


if __name__ == "__main__":
    tf.test.main()
