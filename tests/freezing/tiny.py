"""A detector on the first stages of EfficientNet-Lite0, small enough to train a step in a test, and a batch for it."""

import tensorflow as tf

from tf_frozen.backbones.efficientnet_lite import EfficientNetLite
from tf_frozen.backbones.residual_adapters import ResidualAdapters
from tf_frozen.detectors.rcnn import RCNN
from tf_frozen.heads.balanced_sampler import BalancedSampler
from tf_frozen.heads.box_cascade import BoxCascade
from tf_frozen.heads.box_head import BoxHead
from tf_frozen.heads.nms import NMS
from tf_frozen.heads.proposal_nms import ProposalNMS
from tf_frozen.heads.region_proposal import RegionProposal
from tf_frozen.keras_flavor import keras
from tf_frozen.necks.nas_fpn import NASFPN

SIZE = 64
STEM = "backbone/stage_2/stem_conv/kernel"
STEM_MEAN = "backbone/stage_2/stem_bn/moving_mean"


def detector(mode="frozen", kind=RCNN):
    box_heads = BoxCascade(
        BoxHead(2, convs=1, filters=8, fcs=1, fc_units=16),
        (0.5,),
        ((10, 10, 5, 5),),
        sampler=BalancedSampler(8, 0.25),
        nms=NMS(detections=5),
    )
    proposals = RegionProposal(filters=8, nms=ProposalNMS(candidates=(20, 20), proposals=(10, 10)))
    neck = NASFPN(filters=8, repeats=1)
    backbone = EfficientNetLite(levels=(2, 3), mode=mode, adapters=ResidualAdapters(depthwise=True))
    model = kind(backbone, neck, proposals, box_heads, (SIZE, SIZE))
    model(tf.zeros([1, SIZE, SIZE, 3]))
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9))
    return model


def batch():
    images = tf.random.stateless_uniform([2, SIZE, SIZE, 3], [1, 2], maxval=255.0)
    targets = {
        "boxes": tf.constant([[[4.0, 4.0, 40.0, 40.0]]] * 2),
        "classes": tf.constant([[1]] * 2),
        "image_index": tf.constant([0, 1], tf.int64),
        "image_size": tf.fill([2, 2], float(SIZE)),
        "scale": tf.ones([2]),
    }
    return images, targets


def traced_step(model):
    """The model's train step as one graph, its optimizer built for what trains."""
    model.optimizer.build(model.trainable_variables)
    return tf.function(model.train_step, autograph=False).get_concrete_function(batch())
