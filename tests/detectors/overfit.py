"""The R-CNN of the tests that overfit a few images, and its training."""

from tf_frozen.backbones.efficientnet_lite import EfficientNetLite
from tf_frozen.data.pipeline import TrainBatches, eval_batches
from tf_frozen.export.image_detector import ImageDetector, detect_all
from tf_frozen.heads.anchors import Anchors
from tf_frozen.heads.balanced_sampler import BalancedSampler
from tf_frozen.heads.box_cascade import BoxCascade
from tf_frozen.heads.box_head import BoxHead
from tf_frozen.heads.nms import NMS
from tf_frozen.heads.proposal_nms import ProposalNMS
from tf_frozen.heads.region_proposal import RegionProposal
from tf_frozen.keras_flavor import keras
from tf_frozen.necks.nas_fpn import NASFPN


def norm():
    return keras.layers.BatchNormalization(momentum=0.9)


def parts(filters, num_classes, detections):
    """Backbone, neck, region proposal and box cascade."""
    return (
        EfficientNetLite(levels=(2, 3, 4)),
        NASFPN(filters, 1, 2, 6, norm=norm()),
        RegionProposal(
            filters,
            anchors=Anchors(8.0, 1, (1.0,)),
            sampler=BalancedSampler(64),
            nms=ProposalNMS(candidates=(100, 100), proposals=(60, 60)),
            norm=norm(),
        ),
        BoxCascade(
            BoxHead(num_classes, 0, fcs=2, fc_units=128),
            (0.5, 0.6, 0.7),
            sampler=BalancedSampler(48, 0.25),
            nms=NMS(detections=detections),
        ),
    )


def overfit(model, source, batch_size, steps):
    """Trains on the first batch alone; gives the detections on the data set, rows of COCO results."""
    rate = keras.optimizers.schedules.CosineDecay(3e-3, steps)
    model.compile(keras.optimizers.Adam(rate, global_clipnorm=10.0))
    batches = TrainBatches(source, model.frame, batch_size).dataset(0, 1)
    model.fit(batches.cache().repeat(steps), verbose=0)
    detect = ImageDetector(model, source.categories).detect
    return detect_all(detect, eval_batches(source, model.frame, batch_size), source.examples)
