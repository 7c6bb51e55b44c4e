"""Two-stage detectors: Faster R-CNN with one box head, Cascade R-CNN with several."""

from __future__ import annotations

from collections.abc import Mapping

import gin
import tensorflow as tf

from tf_frozen.backbones.backbone import Backbone
from tf_frozen.config.ranges import Frame, NonNegativeFloat, Seed
from tf_frozen.detectors.detector import Detector
from tf_frozen.detectors.test_time_augmentation import TestTimeAugmentation
from tf_frozen.detectors.tiles import Tiles
from tf_frozen.keras_flavor import keras


@gin.configurable
@keras.utils.register_keras_serializable("tf_frozen")
class RCNN(Detector):
    """backbone → neck → region proposal → box heads; the paper's detector with NAS-FPN and three heads."""

    def __init__(
        self,
        backbone: Backbone,
        neck: keras.layers.Layer,
        region_proposal: keras.layers.Layer,
        box_heads: keras.layers.Layer,
        frame: Frame = (1024, 1024),
        weight_decay: NonNegativeFloat = 4e-5,
        seed: Seed = 0,
        test_time_augmentation: TestTimeAugmentation | None = None,
        tiles: Tiles | None = None,
        **kwargs,
    ):
        super().__init__(backbone, neck, frame, weight_decay, seed, test_time_augmentation, tiles, **kwargs)
        self.region_proposal, self.box_heads = region_proposal, box_heads

    @property
    def detections(self) -> int | None:
        """The most detections that an image is given; None where no limit is known, as with tiles."""
        return None if self.tiles else getattr(self.box_heads, "detections", None)

    def loss_parts(
        self,
        pyramid: Mapping[int, tf.Tensor],
        frame: tuple[int, int],
        targets: Mapping,
        seed: tf.Tensor,
        training: bool = True,
    ) -> dict[str, tf.Tensor]:
        """Losses of the proposals and of the box heads."""
        return self._losses_and_rois(pyramid, frame, targets, seed, training)[0]

    def _losses_and_rois(self, pyramid, frame, targets, seed, training) -> tuple[dict[str, tf.Tensor], tuple]:
        """The losses, and the RoIs of the last box head, from which a further head may learn."""
        anchors = self.region_proposal(pyramid, training=training)
        proposals, valid = self.region_proposal.propose(anchors, frame, targets["image_size"], training)
        box_losses, rois = self.box_heads.losses_and_rois(pyramid, proposals, valid, targets, seed + 1, training)
        return {**self.region_proposal.loss_parts(anchors, frame, targets, seed), **box_losses}, rois

    def detect(
        self, pyramid: Mapping[int, tf.Tensor], frame: tuple[int, int], image_size: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """Proposals, refined and classified by the box heads, after NMS."""
        anchors = self.region_proposal(pyramid, training=False)
        proposals, valid = self.region_proposal.propose(anchors, frame, image_size, training=False)
        return self.box_heads.detect(pyramid, proposals, valid, image_size)
