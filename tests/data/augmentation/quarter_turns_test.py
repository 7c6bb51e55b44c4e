import collections

import numpy as np
import tensorflow as tf

from tf_frozen.data.augmentation.quarter_turns import QuarterTurns

HEIGHT, WIDTH = 5, 7
BOXES = np.float32([[1, 2, 3, 6], [0, 0, 5, 7], [4, 6, 5, 7]])


def image():
    """No two pixels are alike, so that a picture tells how it was turned."""
    return np.arange(HEIGHT * WIDTH * 3, dtype=np.uint8).reshape([HEIGHT, WIDTH, 3])


def pixels(picture, box):
    y1, x1, y2, x2 = (int(edge) for edge in box)
    return sorted(picture[y1:y2, x1:x2, 0].ravel())


def eight_ways():
    flat = image()
    return [turned for base in (flat, flat.transpose([1, 0, 2])) for turned in (np.rot90(base, k) for k in range(4))]


class QuarterTurnsTest(tf.test.TestCase):
    def draws(self, count, **arguments):
        turn = QuarterTurns(**arguments)
        drawn = (turn(tf.constant(image()), {"boxes": tf.constant(BOXES)}, tf.constant([3, n])) for n in range(count))
        return [(picture.numpy(), objects["boxes"].numpy()) for picture, objects in drawn]

    def test_boxes_hold_the_same_pixels_after_every_turn(self):
        for picture, boxes in self.draws(64):
            for before, after in zip(BOXES, boxes, strict=True):
                self.assertAllEqual(pixels(picture, after), pixels(image(), before))

    def test_all_eight_are_drawn_about_as_often(self):
        ways = {way.tobytes() + bytes(way.shape): number for number, way in enumerate(eight_ways())}
        self.assertLen(ways, 8)
        drawn = collections.Counter(ways[p.tobytes() + bytes(p.shape)] for p, _ in self.draws(400))
        self.assertLen(drawn, 8)
        # χ² with 7 degrees of freedom passes 24.3 once in a thousand.
        self.assertLess(sum((count - 50) ** 2 / 50 for count in drawn.values()), 24.3)

    def test_without_turns_pictures_stay_upright(self):
        drawn = {picture.tobytes() for picture, _ in self.draws(64, turns=False)}
        self.assertEqual(drawn, {image().tobytes(), image()[:, ::-1].tobytes()})
        for picture, boxes in self.draws(16, turns=False):
            for before, after in zip(BOXES, boxes, strict=True):
                self.assertAllEqual(pixels(picture, after), pixels(image(), before))

    def test_an_image_without_boxes(self):
        _, objects = QuarterTurns()(tf.constant(image()), {"boxes": tf.zeros([0, 4])}, tf.constant([1, 2]))
        self.assertEqual(objects["boxes"].shape, [0, 4])

    def test_a_graph_turns_as_eager_code_does(self):
        objects = {"boxes": tf.TensorSpec([None, 4])}
        signature = [tf.TensorSpec([None, None, 3], tf.uint8), objects, tf.TensorSpec([2], tf.int32)]
        graph = tf.function(QuarterTurns(), input_signature=signature)
        for number, (picture, boxes) in enumerate(self.draws(8)):
            found = graph(image(), {"boxes": BOXES}, [3, number])
            self.assertAllEqual(found[0], picture)
            self.assertAllEqual(found[1]["boxes"], boxes)

    def test_masks_turn_with_the_picture(self):
        """The mask of a box over the whole picture, which is the picture."""
        picture = np.arange(25, dtype=np.uint8).reshape([5, 5])
        objects = {"boxes": tf.constant([[0.0, 0, 5, 5]]), "masks": tf.constant(picture[np.newaxis])}
        turned = set()
        for number in range(64):
            found, after = QuarterTurns()(tf.constant(picture[..., np.newaxis]), objects, tf.constant([3, number]))
            self.assertAllEqual(after["masks"][0], found[..., 0])
            turned.add(found.numpy().tobytes())
        self.assertLen(turned, 8)


if __name__ == "__main__":
    tf.test.main()
