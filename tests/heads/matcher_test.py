import tensorflow as tf

from tf_frozen.errors import ConfigError
from tf_frozen.heads.matcher import Matcher

ROWS = tf.constant([[[0.0, 0, 10, 10], [0, 5, 10, 15], [0, 8, 10, 18]]])
BOXES, VALID = tf.constant([[[0.0, 0, 10, 10], [0, 0, 0, 0]]]), tf.constant([[True, False]])


class MatcherTest(tf.test.TestCase):
    def test_labels_by_the_thresholds(self):
        """The rows overlap the box by 1, 1/3 and 1/9."""
        for matcher, expected in (
            (Matcher(0.5, 0.2), [1, -1, 0]),
            (Matcher(0.5, 0.5), [1, 0, 0]),
            (Matcher(0.3, 0.1), [1, 1, -1]),
        ):
            index, label = matcher(ROWS, BOXES, VALID)
            self.assertAllEqual(label, [expected], matcher)
            self.assertAllEqual(index, [[0, 0, 0]])

    def test_the_best_row_of_a_box_where_asked_for(self):
        for force_match, expected in ((True, [1, 0]), (False, [0, 0])):
            matcher = Matcher(0.5, 0.5, force_match)
            self.assertAllEqual(matcher(ROWS[:, 1:], BOXES, VALID)[1], [expected])

    def test_what_makes_no_sense_is_refused_with_its_value(self):
        with self.assertRaisesRegex(ConfigError, "negative_iou is 0.6 and Matcher.positive_iou 0.5; the first must"):
            Matcher(negative_iou=0.6)
        with self.assertRaisesRegex(ConfigError, "Matcher.positive_iou is 70; it must be a number from 0 to 1"):
            Matcher(70)


if __name__ == "__main__":
    tf.test.main()
