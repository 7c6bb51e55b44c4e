import pytest
import tensorflow as tf

from tests.data import shapes
from tf_frozen.backbones.efficientnet_lite import EfficientNetLite
from tf_frozen.data.pipeline import TrainBatches, eval_batches
from tf_frozen.detectors.mask_rcnn import MaskRCNN
from tf_frozen.evaluation.coco import score
from tf_frozen.export.image_detector import ImageDetector, detect_all
from tf_frozen.heads.anchors import Anchors
from tf_frozen.heads.balanced_sampler import BalancedSampler
from tf_frozen.heads.box_cascade import BoxCascade
from tf_frozen.heads.box_head import BoxHead
from tf_frozen.heads.mask_head import MaskHead
from tf_frozen.heads.nms import NMS
from tf_frozen.heads.proposal_nms import ProposalNMS
from tf_frozen.heads.region_proposal import RegionProposal
from tf_frozen.keras_flavor import keras
from tf_frozen.necks.nas_fpn import NASFPN

FRAME, STEPS = (128, 160), 70


@pytest.mark.slow
class MaskOverfitTest(tf.test.TestCase):
    def test_three_shapes_are_learnt_by_heart(self):
        keras.utils.set_random_seed(0)
        source, model = shapes.source(self.get_temp_dir()), _detector()
        rate = keras.optimizers.schedules.CosineDecay(3e-3, STEPS)
        model.compile(keras.optimizers.Adam(rate, global_clipnorm=10.0))
        batches = TrainBatches(source, FRAME, batch_size=1).dataset(0, 1)
        model.fit(batches.cache().repeat(STEPS), verbose=0)
        detect = ImageDetector(model, shapes.CATEGORIES).detect
        rows = detect_all(detect, eval_batches(source, FRAME, 1), source.examples)
        metrics = score(source.ground_truth, rows, masks=True)
        # Overlaps of 0.9 and more; a full box overlaps its shape by 0.5.
        self.assertGreater(metrics["mask_AP"], 0.89)
        self.assertGreater(metrics["AP"], 0.89)


def _detector():
    norm = keras.layers.BatchNormalization(momentum=0.9)
    model = MaskRCNN(
        EfficientNetLite(levels=(2, 3, 4)),
        NASFPN(24, 1, 2, 6, norm=norm),
        RegionProposal(
            24,
            anchors=Anchors(8.0, 1, (1.0,)),
            sampler=BalancedSampler(64),
            nms=ProposalNMS(candidates=(100, 100), proposals=(60, 60)),
            norm=norm,
        ),
        BoxCascade(
            BoxHead(3, 0, fcs=2, fc_units=128),
            (0.5, 0.6, 0.7),
            sampler=BalancedSampler(48, 0.25),
            nms=NMS(detections=10),
        ),
        MaskHead(3, convs=2, filters=32, samples=16, norm=norm),
        frame=FRAME,
        weight_decay=0.0,
    )
    model(tf.zeros([1, *FRAME, 3]))
    return model


if __name__ == "__main__":
    tf.test.main()
