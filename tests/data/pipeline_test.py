import collections
import os

import numpy as np
import tensorflow as tf

from tf_frozen.data.augmentation.color_jitter import ColorJitter
from tf_frozen.data.augmentation.quarter_turns import QuarterTurns
from tf_frozen.data.augmentation.scale_jitter import ScaleJitter
from tf_frozen.data.category import Category
from tf_frozen.data.example import Example
from tf_frozen.data.pipeline import TrainBatches, eval_batches
from tf_frozen.data.sources.coco_json import CocoJson
from tf_frozen.data.sources.image_files import ImageFiles
from tf_frozen.data.subset import Subset
from tf_frozen.geometry.resample import PADDING

FRAME = (64, 64)
CATEGORIES = [Category(number, f"class {number}") for number in range(1, 157)]


class PicturesTestCase(tf.test.TestCase):
    """A test with its own pictures on disk."""

    def example(self, number, boxes=(), classes=None, crowd=None, picture=None):
        """A picture of 20 × 20 pixels of one grey, 4 times its number, unless another is given."""
        picture = np.full([20, 20, 3], 4 * number, np.uint8) if picture is None else picture
        tf.io.write_file(self.path(f"picture {number}"), tf.io.encode_png(picture))
        count = len(boxes)
        return Example(
            image_id=f"picture {number}",
            height=picture.shape[0],
            width=picture.shape[1],
            boxes=boxes,
            classes=[1] * count if classes is None else classes,
            crowd=crowd,
        )

    def path(self, image_id):
        return os.path.join(self.get_temp_dir(), f"{image_id}.png")

    def source(self, *examples):
        return ImageFiles(examples, CATEGORIES, [self.path(example.image_id) for example in examples])

    def pictures(self, count):
        return self.source(*(self.example(number) for number in range(count)))


def batches(dataset):
    return [(images.numpy(), {k: v.numpy() for k, v in targets.items()}) for images, targets in dataset]


def indices(dataset):
    return np.concatenate([targets["image_index"] for _, targets in batches(dataset)])


class NeonTreesTest(tf.test.TestCase):
    """The real photographs, with all that the quickstart does to them."""

    def setUp(self):
        super().setUp()
        data = CocoJson("embedded:neon_trees/train.json", "embedded:neon_trees/train", check="header")
        self.data = data

    def batches(self, seed=3, frame=FRAME, **arguments):
        augmentation = (QuarterTurns(), ColorJitter())
        return TrainBatches(self.data, frame, 4, seed, None, augmentation, ScaleJitter(0.8, 1.6, 0.3), **arguments)

    def test_what_a_step_holds_does_not_depend_on_where_training_went_on(self):
        whole, tail = batches(self.batches().dataset(0, 5)), batches(self.batches().dataset(3, 5))
        self.assertLen(tail, 2)
        for expected, found in zip(whole[3:], tail, strict=True):
            self.assertAllEqual(expected[0], found[0])
            for name, value in expected[1].items():
                self.assertAllEqual(value, found[1][name])

    def test_another_seed_gives_other_batches(self):
        (images, targets), (others, other_targets) = (batches(self.batches(seed).dataset(0, 1))[0] for seed in (3, 4))
        self.assertNotAllEqual(targets["image_index"], other_targets["image_index"])
        self.assertNotAllClose(images, others)

    def test_an_image_is_augmented_otherwise_in_each_epoch(self):
        train = TrainBatches(
            Subset(self.data, [0]), FRAME, 1, 3, None, (QuarterTurns(), ColorJitter()), ScaleJitter(0.8, 1.6)
        )
        images = [images for images, _ in batches(train.dataset(0, 6))]
        self.assertLen({image.tobytes() for image in images}, 6)

    def test_shapes_and_dtypes_are_known_before_the_first_batch(self):
        images, targets = self.batches().dataset(0, 5).element_spec
        most = max(len(example.boxes) for example in self.data.examples)
        self.assertEqual(images, tf.TensorSpec([4, 64, 64, 3]))
        expected = {
            "boxes": tf.TensorSpec([4, most, 4]),
            "classes": tf.TensorSpec([4, most], tf.int32),
            "image_index": tf.TensorSpec([4], tf.int64),
            "image_size": tf.TensorSpec([4, 2]),
            "scale": tf.TensorSpec([4]),
        }
        self.assertEqual(dict(targets), expected)

    def test_boxes_are_inside_the_image_and_padding_is_class_0_at_the_end(self):
        for images, targets in batches(self.batches().dataset(0, 11)):
            self.assertAllInRange(images, -1e-3, 255.001)  # resampling rounds
            for boxes, classes, size in zip(targets["boxes"], targets["classes"], targets["image_size"], strict=True):
                count = int(np.sum(classes > 0))
                self.assertAllEqual(classes, [1] * count + [0] * (len(classes) - count))
                self.assertAllEqual(boxes[count:], np.zeros_like(boxes[count:]))
                self.assertAllInSet(boxes[:count, 2:] > boxes[:count, :2], [True])
                self.assertAllInRange(boxes, 0.0, [*size, *size])


class OrderTest(PicturesTestCase):
    def test_every_epoch_is_a_permutation_of_its_own(self):
        for count in (1, 2, 3, 7, 16):
            train = TrainBatches(self.pictures(count), (8, 8), 1, seed=5)
            epochs = indices(train.dataset(0, 4 * count)).reshape([4, count])
            for epoch in epochs:
                self.assertAllEqual(sorted(epoch), range(count))
            if count >= 7:
                self.assertLen({tuple(epoch) for epoch in epochs}, 4)

    def test_batches_go_over_the_end_of_an_epoch(self):
        train = TrainBatches(self.pictures(3), (8, 8), 2, seed=5)
        self.assertAllEqual(sorted(indices(train.dataset(0, 3))), [0, 0, 1, 1, 2, 2])

    def test_orders_are_as_random_as_they_should_be(self):
        """Each of five images comes first in about a fifth of the epochs."""
        train = TrainBatches(self.pictures(5), (8, 8), 5, seed=5)
        firsts = collections.Counter(train.image_ids(step)[0] for step in range(200))
        # χ² with 4 degrees of freedom passes 18.5 once in a thousand.
        self.assertLess(sum((count - 40) ** 2 / 40 for count in firsts.values()) + 40 * (5 - len(firsts)), 18.5)

    def test_image_ids_are_those_of_the_batch(self):
        data = self.pictures(7)
        train = TrainBatches(data, (8, 8), 3, seed=2)
        for step, (images, targets) in enumerate(batches(train.dataset(0, 6))):
            ids = [data.examples[index].image_id for index in targets["image_index"]]
            self.assertEqual(train.image_ids(step), ids)
            self.assertEqual([f"picture {round(image.mean() / 4)}" for image in images], ids)


class BoxesTest(PicturesTestCase):
    def only(self, example, **arguments):
        ((images, targets),) = batches(TrainBatches(self.source(example), (40, 40), 1, **arguments).dataset(0, 1))
        return images[0], {name: value[0] for name, value in targets.items()}

    def test_without_augmentation_boxes_are_scaled_like_the_image(self):
        picture = np.tile(np.uint8(PADDING), [20, 10, 1])
        picture[4:8, 2:5] += 100
        image, targets = self.only(self.example(0, [[4, 2, 8, 5]], [3], picture=picture))
        self.assertAllClose(targets["boxes"], [[8, 4, 16, 10]])
        self.assertAllEqual(targets["classes"], [3])
        self.assertAllClose(targets["image_size"], [40, 20])
        self.assertAllClose(targets["scale"], 2.0)
        marker = image.mean(-1) - np.mean(PADDING) > 50
        self.assertAllEqual(np.flatnonzero(marker.any(1)), range(8, 16))
        self.assertAllEqual(np.flatnonzero(marker.any(0)), range(4, 10))

    def test_an_operation_is_traced_once_and_may_branch_on_tensors(self):
        traced = []

        def darker_where_bright(image, objects, seed):
            traced.append(seed)
            if tf.reduce_mean(tf.cast(image, tf.float32)) > 100.0:  # AutoGraph's
                image = image // 2
            return image, objects

        pictures = [np.full([40, 40, 3], value, np.uint8) for value in (50, 200)]
        source = self.source(*(self.example(number, picture=picture) for number, picture in enumerate(pictures)))
        train = TrainBatches(source, (40, 40), 2, augmentation=[darker_where_bright])
        for step in range(3):
            ((images, _),) = batches(train.dataset(step, step + 1))
            self.assertAllClose(sorted(images.mean((1, 2, 3))), [50, 100], atol=2)
        self.assertLen(traced, 2)  # once without AutoGraph, in vain, and once with it

    def test_crowds_are_left_out(self):
        example = self.example(0, [[1, 1, 5, 5], [0, 0, 20, 20], [2, 3, 9, 9]], [1, 2, 3], [False, True, False])
        _, targets = self.only(example)
        self.assertAllClose(targets["boxes"], [[2, 2, 10, 10], [4, 6, 18, 18]])
        self.assertAllEqual(targets["classes"], [1, 3])

    def test_more_than_100_boxes_are_kept(self):
        corners = np.float32([[y, x] for y in range(13) for x in range(12)])
        boxes = np.concatenate([corners, corners + 3], -1)
        _, targets = self.only(self.example(0, boxes, range(1, 157)))
        self.assertAllClose(targets["boxes"], 2 * boxes)
        self.assertAllEqual(targets["classes"], range(1, 157))

    def test_images_with_fewer_boxes_are_padded_with_class_0(self):
        examples = [self.example(0), self.example(1, [[1, 1, 5, 5]] * 3, [2, 2, 2]), self.example(2, [[0, 0, 9, 9]])]
        for _, targets in batches(TrainBatches(self.source(*examples), (20, 20), 3).dataset(0, 2)):
            classes = {0: [0, 0, 0], 1: [2, 2, 2], 2: [1, 0, 0]}
            self.assertAllEqual(targets["classes"], [classes[index] for index in targets["image_index"]])
            self.assertAllEqual(targets["boxes"][targets["classes"] == 0], np.zeros([5, 4]))

    def test_a_data_set_of_images_without_boxes_gives_batches(self):
        _, targets = self.only(self.example(0))
        self.assertAllEqual(targets["boxes"], [[0.0] * 4])
        self.assertAllEqual(targets["classes"], [0])

    def test_boxes_that_a_crop_loses_leave_no_gap(self):
        """Of four boxes in the corners a crop in the middle of the zoomed picture holds at most some."""
        boxes = [[0, 0, 4, 4], [0, 16, 4, 20], [16, 0, 20, 4], [16, 16, 20, 20]]
        example = self.example(0, boxes, [1, 2, 3, 4])
        train = TrainBatches(self.source(example), (40, 40), 1, placement=ScaleJitter(2.0, 2.0))
        lost = 0
        for _, targets in batches(train.dataset(0, 12)):
            classes = targets["classes"][0]
            count = int(np.sum(classes > 0))
            lost += 4 - count
            self.assertAllEqual(classes[count:], [0] * (4 - count))
            self.assertAllEqual(classes[:count], sorted(classes[:count]))
            self.assertAllEqual(np.any(targets["boxes"][0], -1), classes > 0)
        self.assertGreater(lost, 12)

    def test_how_a_picture_is_turned_and_how_large_it_is_are_independent(self):
        """All sixteen corners of (turn, scale below or above the middle) are drawn alike, unlike Model Garden's."""
        example = self.example(0, [[1, 2, 3, 9]])
        train = TrainBatches(
            self.source(example), (40, 40), 16, 1, augmentation=(QuarterTurns(),), placement=ScaleJitter(0.4, 1.0)
        )
        drawn = collections.Counter()
        scales = []
        for _, targets in batches(train.dataset(0, 50)):
            for boxes, scale in zip(targets["boxes"], targets["scale"], strict=True):
                box = tuple(np.round(boxes[0] / scale).astype(int))
                drawn[box, bool(scale > 2 * 0.7)] += 1
                scales.append(scale)
        turned = {box for box, _ in drawn}
        straight = {(1, 2, 3, 9), (17, 2, 19, 9), (1, 11, 3, 18), (17, 11, 19, 18)}
        self.assertEqual(turned, straight | {(x1, y1, x2, y2) for y1, x1, y2, x2 in straight})
        # χ² with 15 degrees of freedom passes 37.7 once in a thousand.
        self.assertLess(sum((count - 50) ** 2 / 50 for count in drawn.values()), 37.7)
        # Of 800 independent pairs the correlation has a standard deviation of 0.035: nor does a scale lead to the next.
        self.assertLess(abs(np.corrcoef(scales[:-1], scales[1:])[0, 1]), 0.12)

    def test_images_of_one_epoch_are_turned_and_scaled_each_in_its_own_way(self):
        examples = [self.example(number, [[1, 2, 3, 9]]) for number in range(12)]
        train = TrainBatches(
            self.source(*examples), (40, 40), 12, 1, augmentation=(QuarterTurns(),), placement=ScaleJitter(0.4, 1.0)
        )
        ((_, targets),) = batches(train.dataset(0, 1))
        boxes = np.round(targets["boxes"][:, 0] / targets["scale"][:, np.newaxis]).astype(int)
        self.assertLen(set(targets["scale"]), 12)
        self.assertGreater(len({tuple(box) for box in boxes}), 3)

    def test_a_crop_smaller_than_the_frame_shows_objects_as_large_as_the_frame_would(self):
        example = self.example(0, [[8, 8, 12, 12]])
        train = TrainBatches(self.source(example), (40, 40), 1, crop=(32, 24), placement=ScaleJitter(1.0, 1.0))
        for images, targets in batches(train.dataset(0, 5)):
            self.assertEqual(images.shape, (1, 32, 24, 3))
            box = targets["boxes"][0, 0]
            self.assertAllClose(box[2:] - box[:2], [8.0, 8.0])

    def test_a_crop_is_never_larger_than_the_frame(self):
        train = TrainBatches(self.source(self.example(0, [[8, 8, 12, 12]])), (24, 40), 1, crop=(32, 32))
        ((images, _),) = batches(train.dataset(0, 1))
        self.assertEqual(images.shape, (1, 24, 32, 3))


class EvalBatchesTest(PicturesTestCase):
    def test_each_example_once_in_order_and_the_last_batch_short(self):
        found = batches(eval_batches(self.pictures(5), (8, 8), 2))
        self.assertEqual([len(images) for images, _ in found], [2, 2, 1])
        self.assertAllEqual(np.concatenate([targets["image_index"] for _, targets in found]), range(5))

    def test_an_image_is_fitted_into_the_frame(self):
        picture = np.full([10, 20, 3], 200, np.uint8)
        example = self.example(0, [[1, 2, 3, 4]], [7], picture=picture)
        ((images, targets),) = batches(eval_batches(self.source(example), (40, 40), 4))
        self.assertAllClose(targets["image_size"], [[20, 40]])
        self.assertAllClose(targets["scale"], [2.0])
        self.assertAllClose(targets["boxes"], [[[2, 4, 6, 8]]])
        self.assertAllEqual(targets["classes"], [[7]])
        self.assertAllClose(images[0, :19], np.full([19, 40, 3], 200.0))
        self.assertAllClose(images[0, 21:], np.broadcast_to(PADDING, [19, 40, 3]))


if __name__ == "__main__":
    tf.test.main()
