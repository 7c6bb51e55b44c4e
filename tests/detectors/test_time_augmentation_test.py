"""Test-time augmentation against a detector whose answer is known: it finds the white rectangle of a picture."""

import numpy as np
import tensorflow as tf

from tests.freezing import tiny
from tf_frozen.detectors.rcnn import RCNN
from tf_frozen.detectors.test_time_augmentation import TestTimeAugmentation
from tf_frozen.errors import ConfigError
from tf_frozen.keras_flavor import keras
from tf_frozen.necks.nas_fpn import NASFPN

PADDING = 7.0
HEIGHT, WIDTH = 24, 32
# [y1, x1, y2, x2] of the white rectangle and (height, width) of the part that is no padding, image by image.
BOXES = np.float32([[2, 3, 8, 20], [10, 1, 14, 5]])
SIZES = np.float32([[24, 27], [16.3, 32]])


def pictures():
    """Grey pictures, padded at the bottom and right, each with a white rectangle."""
    images = np.full([2, HEIGHT, WIDTH, 3], PADDING, np.float32)
    for image, (y1, x1, y2, x2), size in zip(images, BOXES.astype(int), SIZES, strict=True):
        height, width = np.ceil(size).astype(int)
        image[:height, :width] = 50.0
        image[y1:y2, x1:x2] = 255.0
    return tf.constant(images)


class Finder:
    """Finds the white rectangle of each picture, and `shift` beside it; remembers what it saw."""

    def __init__(self, shift=(0, 0, 0, 0), class_of_call=lambda call: 1):
        self.shift, self.class_of_call, self.seen = shift, class_of_call, []

    def __call__(self, images, image_size):
        self.seen.append((images.numpy(), image_size.numpy()))
        boxes = np.zeros([len(images), 3, 4], np.float32)
        for row, image in zip(boxes, images.numpy(), strict=True):
            y, x = np.nonzero(image[..., 0] == 255.0)
            row[0] = np.float32([y.min(), x.min(), y.max() + 1, x.max() + 1]) + self.shift
        once = np.float32([[1, 0, 0]] * len(images))
        return {
            "boxes": tf.constant(boxes),
            "scores": tf.constant(once * 0.5),
            "classes": tf.constant(once, tf.int32) * self.class_of_call(len(self.seen)),
            "count": tf.ones([len(images)], tf.int32),
        }


class TestTimeAugmentationTest(tf.test.TestCase):
    def detect(self, augmentation, finder=None):
        found = augmentation.detect(finder or Finder(), pictures(), tf.constant(SIZES))
        self.assertEqual({key: value.dtype for key, value in found.items()}["classes"], tf.int32)
        return {key: value.numpy() for key, value in found.items()}

    def test_what_is_found_on_every_variant_lies_where_it_is(self):
        for turns, count in ((False, 2), (True, 8)):
            finder = Finder()
            found = self.detect(TestTimeAugmentation(turns), finder)
            self.assertLen(finder.seen, count)
            self.assertAllEqual(found["count"], [1, 1])
            self.assertAllClose(found["boxes"], [[row, [0] * 4, [0] * 4] for row in BOXES], 1e-6)
            self.assertAllClose(found["scores"], [[0.5, 0, 0]] * 2)
            self.assertAllEqual(found["classes"], [[1, 0, 0]] * 2)

    def test_the_variants_are_all_different_and_padded_at_the_bottom_and_right(self):
        finder = Finder()
        self.detect(TestTimeAugmentation(turns=True), finder)
        self.assertLen({images.tobytes() for images, _ in finder.seen}, 8)
        self.assertEqual([images.shape[1:3] for images, _ in finder.seen], [(24, 32)] * 4 + [(32, 24)] * 4)
        for images, sizes in finder.seen:
            for image, (height, width) in zip(images, sizes.astype(int), strict=True):
                self.assertAllGreater(image[:height, :width], PADDING)
                self.assertAllEqual(image[height:], np.full_like(image[height:], PADDING))
                self.assertAllEqual(image[:, width:], np.full_like(image[:, width:], PADDING))

    def test_what_leans_to_one_side_is_put_right_by_the_mirror_image(self):
        lean = Finder(shift=(0, 0.25, 0, 0.25))
        self.assertAllClose(self.detect(TestTimeAugmentation(), lean)["boxes"][:, 0], BOXES, 1e-6)
        sink = Finder(shift=(0.25, 0, 0.25, 0))
        self.assertAllClose(self.detect(TestTimeAugmentation(), sink)["boxes"][:, 0], BOXES + [0.25, 0, 0.25, 0], 1e-6)
        sink = Finder(shift=(0.25, 0, 0.25, 0))
        self.assertAllClose(self.detect(TestTimeAugmentation(turns=True), sink)["boxes"][:, 0], BOXES, 1e-6)

    def test_boxes_end_with_the_image_where_it_ends_within_a_pixel(self):
        found = self.detect(TestTimeAugmentation(), Finder(shift=(0, 0, 20, 0)))
        self.assertAllClose(found["boxes"][:, 0, 2], SIZES[:, 0])

    def test_classes_stay_apart(self):
        found = self.detect(TestTimeAugmentation(), Finder(class_of_call=lambda call: call))
        self.assertAllEqual(found["count"], [2, 2])
        self.assertAllEqual(np.sort(found["classes"]), [[0, 1, 2]] * 2)
        # Each was found on one variant of two.
        self.assertAllClose(found["scores"], [[0.25, 0.25, 0]] * 2)

    def test_no_more_than_one_image_may_have(self):
        found = self.detect(TestTimeAugmentation(turns=True), Finder(class_of_call=lambda call: call))
        self.assertAllEqual(found["count"], [3, 3])
        self.assertEqual(found["boxes"].shape, (2, 3, 4))


class AugmentedDetectorTest(tf.test.TestCase):
    def detector(self):
        keras.utils.set_random_seed(1)
        model = tiny.detector()
        model.neck = NASFPN(8, 1, norm=keras.layers.GroupNormalization(groups=2))
        model.test_time_augmentation = TestTimeAugmentation(turns=True)
        return model

    def test_a_turned_image_has_the_turned_boxes(self):
        model, (images, _) = self.detector(), tiny.batch()
        straight = model(images)
        self.assertAllGreater(straight["count"], 0)
        turned = model(tf.image.rot90(images))
        self.assertAllClose(turned["scores"], straight["scores"], 1e-4)
        y1, x1, y2, x2 = tf.unstack(straight["boxes"][:, :1], axis=-1)
        self.assertAllClose(turned["boxes"][:, :1], tf.stack([64 - x2, y1, 64 - x1, y2], -1), 1e-3, 1e-2)

    def test_a_graph_finds_the_same(self):
        model, (images, _) = self.detector(), tiny.batch()
        size = tf.constant([[64.0, 64.0], [50.0, 64.0]])
        eager, graph = model(images, size), tf.function(model)(images, size)
        for key in eager:
            self.assertAllClose(graph[key], eager[key], 1e-3, 1e-2)

    def test_an_invalid_value_is_explained(self):
        parts = self.detector().get_config() | {"test_time_augmentation": 3}
        with self.assertRaisesRegex(
            ConfigError, "augmentation is 3; it must be an instance of TestTimeAugmentation or None"
        ):
            RCNN.from_config(parts)

    def test_its_configuration_builds_it_again(self):
        model = self.detector()
        again = keras.layers.deserialize(keras.layers.serialize(model))
        self.assertEqual(again.test_time_augmentation.get_config(), model.test_time_augmentation.get_config())
        self.assertTrue(again.test_time_augmentation.turns)
