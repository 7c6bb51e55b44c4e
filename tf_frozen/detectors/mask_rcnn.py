"""Mask R-CNN (He et al. 2017, arXiv 1703.06870), on the boxes of Faster or Cascade R-CNN."""

from __future__ import annotations

from collections.abc import Mapping

import gin
import tensorflow as tf

from tf_frozen.backbones.backbone import Backbone
from tf_frozen.config.ranges import Frame, NonNegativeFloat, Seed
from tf_frozen.detectors.rcnn import RCNN
from tf_frozen.detectors.test_time_augmentation import TestTimeAugmentation
from tf_frozen.detectors.tiles import Tiles
from tf_frozen.errors import ConfigError
from tf_frozen.keras_flavor import keras


@gin.configurable
@keras.utils.register_keras_serializable("tf_frozen")
class MaskRCNN(RCNN):
    """backbone → neck → region proposal → box heads → mask head; several box heads make it Cascade Mask R-CNN.

    Raises ConfigError for `test_time_augmentation`: masks of flipped images can't be merged.
    """

    finds_masks = True

    def __init__(
        self,
        backbone: Backbone,
        neck: keras.layers.Layer,
        region_proposal: keras.layers.Layer,
        box_heads: keras.layers.Layer,
        mask_head: keras.layers.Layer,
        frame: Frame = (1024, 1024),
        weight_decay: NonNegativeFloat = 4e-5,
        seed: Seed = 0,
        test_time_augmentation: TestTimeAugmentation | None = None,
        tiles: Tiles | None = None,
        **kwargs,
    ):
        if test_time_augmentation is not None:
            raise ConfigError("MaskRCNN.test_time_augmentation must be None: it merges boxes, but can't merge masks.")
        super().__init__(backbone, neck, region_proposal, box_heads, frame, weight_decay, seed, tiles=tiles, **kwargs)
        self.mask_head = mask_head

    def loss_parts(
        self,
        pyramid: Mapping[int, tf.Tensor],
        frame: tuple[int, int],
        targets: Mapping,
        seed: tf.Tensor,
        training: bool = True,
    ) -> dict[str, tf.Tensor]:
        """Losses of the proposals, of the box heads, and of the mask head on the RoIs of the last of them."""
        losses, rois = self._losses_and_rois(pyramid, frame, targets, seed, training)
        return {**losses, **self.mask_head.loss_parts(pyramid, rois, targets, training)}

    def detect(
        self, pyramid: Mapping[int, tf.Tensor], frame: tuple[int, int], image_size: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """Detects as RCNN does, with `masks` [batch, D, h, w]: the probability of the class on a grid over the box."""
        found = super().detect(pyramid, frame, image_size)
        return {**found, "masks": self.mask_head.detect(pyramid, found["boxes"], found["classes"])}
