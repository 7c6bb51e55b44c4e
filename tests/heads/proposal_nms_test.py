import tensorflow as tf

from tf_frozen.errors import ConfigError
from tf_frozen.heads.proposal_nms import ProposalNMS

BOXES = tf.constant([[[0.0, 0, 10, 10], [0, 1, 10, 11], [0, 0, 10, 10], [50, 50, 60, 60]]])
SCORES = tf.constant([[0.9, 0.8, 0.7, 0.0]])


class ProposalNMSTest(tf.test.TestCase):
    def test_boxes_of_one_level_suppress_one_another(self):
        nms = ProposalNMS(0.5, proposals=(4, 2))
        for levels, found in (([[3, 3, 4, 3]], [0, 2]), ([[3, 4, 5, 3]], [0, 1, 2])):
            boxes, valid = nms(BOXES, SCORES, tf.constant(levels), training=True)
            self.assertAllEqual(boxes[0], [*BOXES[0].numpy()[found].tolist(), *[[0.0] * 4] * (4 - len(found))])
            self.assertAllEqual(valid, [[place < len(found) for place in range(4)]])
            self.assertAllEqual(nms(BOXES, SCORES, tf.constant(levels), training=False)[1], [[True, True]])

    def test_what_makes_no_sense_is_refused_with_its_value(self):
        for arguments, message in (
            ({"candidates": 2000}, r"candidates is 2000; it must be a sequence of 2 integers"),
            ({"proposals": (1000,)}, r"proposals is \(1000,\); it must be a sequence of 2 integers"),
            ({"proposals": (1000, 0)}, r"proposals is \(1000, 0\); .* 2 integers from 1"),
        ):
            with self.assertRaisesRegex(ConfigError, message):
                ProposalNMS(**arguments)


if __name__ == "__main__":
    tf.test.main()
