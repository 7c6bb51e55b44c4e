"""A real two-stage detector on a pretrained backbone, exported and run without this package."""

import os

import tensorflow as tf

from tf_frozen.backbones.efficientnet_lite import EfficientNetLite
from tf_frozen.data import images
from tf_frozen.data.category import Category
from tf_frozen.data.paths import resolve
from tf_frozen.detectors.rcnn import RCNN
from tf_frozen.export.saved_model import export
from tf_frozen.export.verify import detections, verify
from tf_frozen.heads.box_cascade import BoxCascade
from tf_frozen.heads.box_head import BoxHead
from tf_frozen.heads.nms import NMS
from tf_frozen.heads.proposal_nms import ProposalNMS
from tf_frozen.heads.region_proposal import RegionProposal
from tf_frozen.keras_flavor import keras
from tf_frozen.necks.nas_fpn import NASFPN

CATEGORIES = [Category(7, "tree"), Category(21, "bush")]


def _tiny_rcnn():
    """Untrained heads of three stages behind the embedded backbone; a low threshold lets them find much."""
    keras.utils.set_random_seed(0)
    head = BoxHead(num_classes=2, convs=1, filters=16, fcs=1, fc_units=32)
    detector = RCNN(
        EfficientNetLite(),
        NASFPN(filters=16, repeats=1),
        RegionProposal(filters=16, nms=ProposalNMS(candidates=(100, 100), proposals=(50, 50))),
        BoxCascade(head, nms=NMS(score_threshold=0.01, detections=20)),
        frame=(128, 128),
    )
    detector(tf.zeros([1, 128, 128, 3]))
    return detector


class RCNNTest(tf.test.TestCase):
    def test_gives_the_same_boxes_in_a_fresh_process(self):
        folder = resolve("embedded:neon_trees/val")
        square = images.read(os.path.join(folder, sorted(os.listdir(folder))[0]))
        pictures = [square, square[:150, :311]]
        detector = _tiny_rcnn()
        saved_model = export(detector, CATEGORIES, os.path.join(self.get_temp_dir(), "model"))
        expected = detections(detector, CATEGORIES, pictures)
        agreed = verify(saved_model, pictures, expected)
        self.assertEqual(agreed["detections"], 40)
        self.assertContainsSubset(set(expected[0].classes.tolist()), {7, 21})
        for rows, picture in zip(expected, pictures, strict=True):
            self.assertAllInRange(rows.boxes[:, ::2], 0, picture.shape[0])
            self.assertAllInRange(rows.boxes[:, 1::2], 0, picture.shape[1])
        self.check_a_batch_of_no_image(tf.saved_model.load(saved_model).signatures)

    def check_a_batch_of_no_image(self, signatures):
        for name, inputs in (
            ("serving_default", tf.zeros([0, 50, 60, 3], tf.uint8)),
            ("image_bytes", tf.constant([], tf.string)),
        ):
            found = signatures[name](inputs)
            self.assertEqual(found["detection_boxes"].shape, (0, 20, 4), name)
            self.assertEqual(found["num_detections"].shape, (0,), name)


if __name__ == "__main__":
    tf.test.main()
