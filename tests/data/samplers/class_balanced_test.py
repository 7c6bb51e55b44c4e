import collections

import gin
import numpy as np
import tensorflow as tf

from tf_frozen.data.example import Example
from tf_frozen.data.no_images import NoImages
from tf_frozen.data.pipeline import TrainBatches
from tf_frozen.data.samplers.class_balanced import ClassBalanced


def examples(*labels, crowd=()):
    """An example for each list of classes; those of the numbers in `crowd` are crowds."""
    boxes = [[[0, 0, 8, 8]] * len(classes) for classes in labels]
    pairs = enumerate(zip(boxes, labels, strict=True))
    return [Example(number, 8, 8, *pair, crowd=[number in crowd] * len(pair[1])) for number, pair in pairs]


def places(sampler, count, start=0):
    """(epoch, index) of positions, by the graph that training runs."""
    stream = tf.data.Dataset.range(start, start + count).map(sampler.place)
    return [(int(epoch), int(index)) for epoch, index in stream]


class ClassBalancedTest(tf.test.TestCase):
    def test_each_class_comes_once_in_as_many_positions_as_there_are_classes(self):
        """Class 1 in seven images, class 2 in two, class 5 in one."""
        sampler = ClassBalanced(examples(*[[1, 1]] * 7, [2], [2], [5]), seed=3)
        class_of = [1] * 7 + [2, 2, 5]
        found = [class_of[index] for _, index in places(sampler, 3 * 20)]
        turns = np.reshape(found, [20, 3])
        self.assertAllEqual(np.sort(turns, axis=1), [[1, 2, 5]] * 20)
        self.assertLen({tuple(turn) for turn in turns}, 6)  # of all orders

    def test_a_class_goes_through_all_of_its_images_before_any_again(self):
        found = places(ClassBalanced(examples(*[[1]] * 7, [2], [2], [5]), seed=3), 3 * 7 * 4)
        frequent = np.reshape([index for _, index in found if index < 7], [4, 7])
        self.assertAllEqual(np.sort(frequent, axis=1), [range(7)] * 4)
        self.assertLen({tuple(order) for order in frequent}, 4)
        counts = collections.Counter(index for _, index in found)
        self.assertEqual([counts[index] for index in range(10)], [4] * 7 + [14, 14, 28])

    def test_an_image_of_two_classes_comes_for_both_and_never_twice_in_an_epoch(self):
        sampler = ClassBalanced(examples([1, 2], [1], [3, 1, 2]), seed=0)
        found = places(sampler, 3 * 60)
        self.assertLen(set(found), 3 * 60)
        counts = collections.Counter(index for _, index in found)
        # A third of a half; a third of a third besides; and a third for class 3, which has one image.
        self.assertEqual([counts[index] for index in range(3)], [20 + 30, 20, 20 + 30 + 60])
        copies = [epoch % 4 for epoch, index in found if index == 1]
        self.assertEqual(collections.Counter(copies), {0: 5, 1: 5, 2: 5, 3: 5})

    def test_images_without_objects_or_with_crowds_alone_never_come(self):
        sampler = ClassBalanced(examples([], [1], [2], [2], crowd=[2]), seed=0)
        self.assertEqual({index for _, index in places(sampler, 20)}, {1, 3})
        self.assertEqual({index for _, index in places(ClassBalanced(examples([], [4]), seed=0), 5)}, {1})

    def test_it_goes_on_at_any_position_and_another_seed_gives_another_order(self):
        data = examples(*[[1]] * 7, [2], [2, 1], [5])
        whole = places(ClassBalanced(data, seed=3), 60)
        self.assertEqual(places(ClassBalanced(data, seed=3), 20, start=40), whole[40:])
        self.assertNotEqual(places(ClassBalanced(data, seed=4), 60), whole)

    def test_the_shipped_configuration(self):
        self.addCleanup(gin.clear_config)
        gin.add_config_file_search_path("gin_configs")
        gin.parse_config_file("samplers/class_balanced.gin")
        self.assertIsInstance(TrainBatches(NoImages(), (8, 8), 1).sampler, ClassBalanced)


if __name__ == "__main__":
    tf.test.main()
