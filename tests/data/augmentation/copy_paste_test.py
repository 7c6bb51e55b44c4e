import gin
import numpy as np
import tensorflow as tf

from tests.data import shapes
from tf_frozen.data.augmentation.copy_paste import CopyPaste
from tf_frozen.data.augmentation.quarter_turns import QuarterTurns
from tf_frozen.data.augmentation.scale_jitter import ScaleJitter
from tf_frozen.data.pipeline import TrainBatches
from tf_frozen.errors import ConfigError
from tf_frozen.export.masks import paste

SIZE = (80, 100)
BELOW, ABOVE = 50.0, 200.0  # the greys of the image and of the other


def objects(*rows, classes=None, side=40):
    """Objects that fill their boxes, unless a mask is given: (box) or (box, mask)."""
    boxes = [row[0] if isinstance(row, tuple) else row for row in rows]
    masks = [row[1] if isinstance(row, tuple) else np.ones([side, side]) for row in rows]
    return {
        "boxes": tf.constant(np.reshape(boxes, [-1, 4]), tf.float32),
        "classes": tf.constant(range(1, len(rows) + 1) if classes is None else classes, tf.int32),
        "masks": tf.constant(np.reshape(masks, [-1, side, side]), tf.uint8),
    }


def images(size=SIZE):
    return tf.fill([*size, 3], BELOW), tf.fill([*size, 3], ABOVE)


def seed_that_pastes(count):
    """A seed that pastes all of the given number of objects, as few draws do."""
    other = objects(*[[0.0, 10 * n, 9, 10 * n + 9] for n in range(count)])
    for number in range(1000):
        _, mixed = CopyPaste()(images()[0], objects(), images()[1], other, tf.constant([7, number]))
        if len(mixed["boxes"]) == count:
            return tf.constant([7, number])
    raise AssertionError(f"No seed pastes all {count} objects.")


def pixels(found, size=SIZE):
    """What each object covers, bool [n, H, W], by the NumPy code that scores masks."""
    rows = zip(found["masks"].numpy().astype(np.float32), found["boxes"].numpy(), strict=True)
    return np.reshape([paste(mask, box, *size) > 0 for mask, box in rows], [-1, *size])


class CopyPasteTest(tf.test.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.seeds = {count: seed_that_pastes(count) for count in (0, 1, 2)}

    def mix(self, below, above, **arguments):
        """All of `above` pasted on `below`: the picture, where it is the other image, and the objects."""
        image, other = images()
        seed = self.seeds[len(above["boxes"])]
        picture, found = CopyPaste(**arguments)(image, below, other, above, seed)
        self.assertAllInSet(picture, [BELOW, ABOVE])
        return picture.numpy()[..., 0] == ABOVE, found

    def test_the_pixels_of_a_mask_and_no_other_are_pasted(self):
        triangle = np.tril(np.ones([40, 40]))
        covered, found = self.mix(objects(), objects(([10, 20, 50, 60], triangle), classes=[7]))
        expected = np.zeros(SIZE, bool)
        expected[10:50, 20:60] = triangle > 0
        self.assertAllEqual(covered, expected)
        self.assertAllEqual(found["boxes"], [[10, 20, 50, 60]])
        self.assertAllEqual(found["classes"], [7])
        self.assertAllEqual(found["masks"], [triangle])

    def test_a_hidden_object_goes_and_what_no_paste_touches_stays_however_small(self):
        below = objects([10, 10, 40, 40], [60, 60, 62, 62], [0, 0, 5, 5])
        _, found = self.mix(below, objects([5, 5, 50, 50], classes=[9]))
        self.assertAllEqual(found["classes"], [2, 3, 9])
        self.assertAllEqual(found["boxes"], [[60, 60, 62, 62], [0, 0, 5, 5], [5, 5, 50, 50]])
        self.assertAllEqual(found["masks"], np.ones([3, 40, 40]))

    def test_an_object_smaller_than_a_pixel_goes_where_it_is_covered_and_is_never_pasted(self):
        small = [20.1, 20.1, 20.3, 20.3]
        _, found = self.mix(objects(small, [70.1, 20.1, 70.3, 20.3]), objects([10, 10, 30, 30], small, classes=[8, 9]))
        self.assertAllEqual(found["classes"], [2, 8, 9])  # 9 lies on 8, which is pasted
        covered, found = self.mix(objects(), objects(small))
        self.assertEqual((covered.sum(), len(found["boxes"])), (0, 0))

    def test_an_object_goes_at_300_visible_pixels_and_stays_at_one_more(self):
        """Of 40 × 20 pixels 25 rows are hidden, or 25 rows but for one pixel."""
        below = objects([10, 10, 50, 30])
        _, found = self.mix(below, objects([0, 0, 35, 40], classes=[9]))
        self.assertAllEqual(found["classes"], [9])
        corner = np.ones([40, 40])
        corner[-1, :10] = 0  # column 0…9 and row 34, one pixel high
        above = objects(([-5, 0, 35, 40], corner), classes=[9])
        _, found = self.mix(below, above)
        self.assertAllEqual(found["classes"], [9])
        corner[-1, 10] = 0
        _, found = self.mix(below, objects(([-5, 0, 35, 40], corner), classes=[9]))
        self.assertAllEqual(found["classes"], [1, 9])
        _, found = self.mix(below, objects([0, 0, 35, 40], classes=[9]), min_area=299)
        self.assertAllEqual(found["classes"], [1, 9])

    def test_a_side_moves_where_it_changes_by_more_than_10_pixels(self):
        below = objects([10, 10, 50, 90])
        for top, expected in ((20, 10), (21, 21), (30, 30)):
            _, found = self.mix(below, objects([0, 0, top, 100]))
            self.assertAllEqual(found["boxes"][0], [expected, 10, 50, 90])
        _, found = self.mix(below, objects([0, 0, 15, 100]), box_tolerance=4)
        self.assertAllEqual(found["boxes"][0], [15, 10, 50, 90])

    def test_masks_lose_what_is_hidden_whether_or_not_their_box_moves(self):
        covered, found = self.mix(objects([10, 10, 50, 50]), objects([0, 0, 18, 100]))
        self.assertAllEqual(found["boxes"][0], [10, 10, 50, 50])
        self.assertAllEqual(found["masks"][0], np.repeat([[0]] * 8 + [[1]] * 32, 40, 1))
        covered, found = self.mix(objects([10, 10, 50, 50]), objects([0, 0, 30, 100]))
        self.assertAllEqual(found["boxes"][0], [30, 10, 50, 50])
        self.assertAllEqual(found["masks"][0], np.ones([40, 40]))
        self.assertFalse(np.any(pixels(found)[0] & covered))

    def test_a_hole_in_the_middle_leaves_the_box(self):
        covered, found = self.mix(objects([10, 10, 50, 50]), objects([20, 20, 40, 40]))
        self.assertAllEqual(found["boxes"][0], [10, 10, 50, 50])
        self.assertEqual(pixels(found)[0].sum(), 1600 - 400)

    def test_masks_may_be_left_out_and_are_asked_for(self):
        _, found = self.mix(objects([10, 10, 50, 50]), objects([0, 0, 30, 100]), keep_masks=False)
        self.assertAllEqual(found["boxes"], [[30, 10, 50, 50], [0, 0, 30, 100]])
        self.assertNotIn("masks", found)
        bare = {name: rows for name, rows in objects().items() if name != "masks"}
        with self.assertRaisesRegex(ConfigError, "CocoJson.masks = True"):
            CopyPaste()(*images()[:1], bare, images()[1], objects(), tf.constant([1, 2]))

    def test_impossible_arguments(self):
        for name, value in (("probability", 1.5), ("probability", "x"), ("min_area", -1), ("box_tolerance", None)):
            with self.assertRaisesRegex(ConfigError, rf"CopyPaste\.{name} is {value!r}"):
                CopyPaste(**{name: value})


def random_objects(rng, count, size=SIZE):
    """Ellipses, some of them cut by the border, with classes from 1."""
    near = rng.uniform(0, np.subtract(size, 12), [count, 2])
    far = np.minimum(near + rng.uniform(8, 50, [count, 2]), size)
    grid = np.hypot(*(np.indices([40, 40]) - 19.5)) < 20.5
    return objects(*((box, grid) for box in np.concatenate([near, far], -1)))


class RandomObjectsTest(tf.test.TestCase):
    def draws(self, count=40, **arguments):
        rng = np.random.default_rng(4)
        for number in range(count):
            below, above = (random_objects(rng, rng.integers(0, 6)) for _ in range(2))
            above["classes"] += 100
            image, other = images()
            inputs = (image, below, other, above, tf.constant([3, number]))
            yield inputs, CopyPaste(**arguments)(*inputs)

    def test_masks_are_what_is_seen_and_boxes_hold_them_within_the_tolerance(self):
        partly = 0
        for (_, below, _, above, _), (picture, found) in self.draws():
            covered = picture.numpy()[..., 0] == ABOVE
            before = dict(zip(below["classes"].numpy(), pixels(below), strict=True))
            pasted = np.zeros(SIZE, bool)
            for number, box, shown in zip(found["classes"].numpy(), found["boxes"].numpy(), pixels(found), strict=True):
                if number > 100:
                    pasted |= shown
                    self.assertAllEqual(box, above["boxes"][number - 101])
                    continue
                seen = before[number] & ~covered
                overlap = (shown & seen).sum() / (shown | seen).sum()
                self.assertGreater(overlap, 0.9)
                if np.any(before[number] & covered):
                    partly += 1
                    self.assertGreater(seen.sum(), 300)
                    rows, columns = (np.flatnonzero(seen.any(axis)) for axis in (1, 0))
                    tight = [rows[0], columns[0], rows[-1] + 1, columns[-1] + 1]
                    self.assertLessEqual(np.abs(tight - box).max(), 10)
            self.assertAllEqual(pasted, covered)
            gone = set(below["classes"].numpy()) - set(found["classes"].numpy())
            for number in gone:
                self.assertLessEqual((before[number] & ~covered).sum(), 300)
        self.assertGreater(partly, 10)

    def test_a_graph_mixes_as_eager_code_does_and_a_seed_decides_all(self):
        rows = {"boxes": tf.TensorSpec([None, 4]), "classes": tf.TensorSpec([None], tf.int32)}
        rows["masks"] = tf.TensorSpec([None, 40, 40], tf.uint8)
        picture, seed = tf.TensorSpec([*SIZE, 3]), tf.TensorSpec([2], tf.int32)
        graph = tf.function(CopyPaste(), input_signature=[picture, rows, picture, rows, seed])
        for inputs, eager in self.draws(8):
            for again in (graph(*inputs), CopyPaste()(*inputs)):
                tf.nest.map_structure(self.assertAllEqual, again, eager)

    def test_how_many_are_pasted_is_spread_evenly_and_which_ones_is_not_fixed(self):
        above = objects(*([0.0, 10 * n, 9, 10 * n + 9] for n in range(9)))
        image, other = images()
        mix = tf.function(CopyPaste(keep_masks=False))
        drawn = [mix(image, objects(), other, above, tf.constant([5, n]))[1]["classes"].numpy() for n in range(400)]
        # χ² with 9 degrees of freedom passes 27.9 once in a thousand.
        counts = np.bincount([len(classes) for classes in drawn], minlength=10)
        self.assertLess(np.sum((counts - 40) ** 2 / 40), 27.9)
        # Each is pasted in half of the draws; four standard deviations are 40.
        self.assertAllInRange(np.bincount(np.concatenate(drawn), minlength=10)[1:], 160, 240)

    def test_probability(self):
        above = objects([0.0, 0, 9, 9])
        image, other = images()
        pasted = {}
        for probability in (0.0, 0.5, 1.0):
            mix = tf.function(CopyPaste(probability))
            pasted[probability] = [
                len(mix(image, objects(), other, above, tf.constant([5, n]))[1]["boxes"]) for n in range(300)
            ]
        # One object is in half of the subsets; four standard deviations are 0.12.
        self.assertEqual(sum(pasted[0.0]), 0)
        self.assertAllClose([np.mean(pasted[0.5]), np.mean(pasted[1.0])], [0.25, 0.5], atol=0.12)


class BatchesTest(tf.test.TestCase):
    """The picture of three shapes, on itself, and in several copies that are augmented each in its own way."""

    def batches(self, count=3, batch_size=4, **arguments):
        copies = shapes.source(self.get_temp_dir(), copies=[{"image_id": number} for number in range(count)])
        arguments = {"augmentation": (QuarterTurns(False),), "placement": ScaleJitter(0.3, 2.0), **arguments}
        return TrainBatches(copies, (128, 160), batch_size, seed=1, mix=CopyPaste(), **arguments)

    def test_large_scale_jittered_pairs(self):
        """Every mask is of the object's colour in the picture, and every box lies within image_size."""
        pasted = 0
        for pictures, targets in self.batches().dataset(0, 8):
            self.assertEqual(targets["masks"].shape, (4, 6, 112, 112))
            self.assertAllInRange(targets["boxes"] / tf.tile(targets["image_size"], [1, 2])[:, tf.newaxis], 0.0, 1.0)
            for place, picture in enumerate(pictures.numpy()):
                found = {name: targets[name][place] for name in ("boxes", "classes", "masks")}
                count = int(np.sum(found["classes"] > 0))
                for rows in found.values():
                    self.assertAllEqual(rows[count:], tf.zeros_like(rows[count:]))
                pasted += count > 3
                found = {name: rows[:count] for name, rows in found.items()}
                for number, shown in zip(found["classes"].numpy(), pixels(found, (128, 160)), strict=True):
                    if shown.sum() >= 150:
                        color = picture[shown]
                        self.assertGreater(np.mean(color[:, number - 1] == color.max(-1)), 0.9)
        self.assertGreater(pasted, 8)

    def test_what_a_step_holds_is_a_function_of_seed_and_step(self):
        whole, tail = list(self.batches().dataset(0, 3)), list(self.batches().dataset(2, 3))
        tf.nest.map_structure(self.assertAllEqual, whole[2], tail[0])

    def test_the_other_image_is_any_and_drawn_apart_from_how_the_image_itself_is(self):
        """A mix that gives the other's objects instead of the image's, classes telling which image they are of."""
        classes = [{"classes": [n, 1, 1]} for n in range(1, 5)]
        copies = shapes.source(self.get_temp_dir(), (False, True, True), classes)
        both = {"placement": ScaleJitter(0.3, 1.0), "augmentation": (QuarterTurns(False),)}

        def mix(image, objects, other_image, other_objects, seed):
            del other_image, seed
            return image, {name: tf.concat([objects[name], other_objects[name]], 0) for name in objects}

        drawn = []
        for _, targets in TrainBatches(copies, (128, 160), 16, mix=mix, **both).dataset(0, 25):
            sizes = targets["boxes"][..., 2] - targets["boxes"][..., 0]
            lefts = targets["boxes"][..., 1] / targets["boxes"][..., 3]
            drawn += zip(targets["classes"].numpy(), sizes.numpy(), lefts.numpy(), strict=True)
        classes, sizes, lefts = (np.asarray(values) for values in zip(*drawn, strict=True))
        counts = np.bincount(4 * (classes[:, 0] - 1) + classes[:, 1] - 1, minlength=16)
        # χ² with 15 degrees of freedom passes 37.7 once in a thousand.
        self.assertLess(np.sum((counts - 25) ** 2 / 25), 37.7)
        # Of 400 independent pairs the correlation has a standard deviation of 0.05: of scales, of flips, and of both.
        pairs = (sizes.T, (lefts > 0.3).T, (sizes[:, 0], lefts[:, 1] > 0.3))
        for one, other in pairs:
            self.assertLess(abs(np.corrcoef(one, other)[0, 1]), 0.2)

    def test_copies_are_what_the_epoch_of_their_number_shows(self):
        batches = self.batches(count=2, batch_size=2, fixed_copies=2)
        copies, _ = next(iter(batches.copies([2, 3], 2)))
        epochs = batches.dataset(0, 4)
        shown = [tf.gather(pictures, np.argsort(targets["image_index"])) for pictures, targets in epochs]
        self.assertAllEqual(shown[1], shown[3])
        self.assertAllEqual(shown[1], copies)
        self.assertNotAllClose(shown[0], shown[1])

    def test_data_without_segmentations(self):
        source = shapes.source(self.get_temp_dir(), copies=[{"segmentations": None}])
        with self.assertRaisesRegex(ConfigError, "TrainBatches.mix needs masks.*CocoJson.masks = True"):
            TrainBatches(source, (64, 64), 1, mix=CopyPaste()).dataset(0, 1)

    def test_the_shipped_configuration(self):
        self.addCleanup(gin.clear_config)
        gin.add_config_file_search_path("gin_configs")
        gin.parse_config("import tf_frozen.data.sources.coco_json\nimport tf_frozen.data.pipeline")
        gin.parse_config_file("augmentation/copy_paste.gin")
        train = TrainBatches(shapes.source(self.get_temp_dir()), (64, 64), 2)
        self.assertIsInstance(train.mix, CopyPaste)
        self.assertTrue(gin.query_parameter("CocoJson.masks"))
        ((_, targets),) = train.dataset(0, 1)
        self.assertEqual(targets["masks"].shape, (2, 6, 112, 112))


if __name__ == "__main__":
    tf.test.main()
