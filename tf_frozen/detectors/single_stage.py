"""One-stage detectors: RetinaNet, EfficientDet, and others that predict boxes directly from a pyramid."""

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
class SingleStage(Detector):
    """backbone → neck → dense head: RetinaNet with FPN, EfficientDet with BiFPN and separable convolutions."""

    def __init__(
        self,
        backbone: Backbone,
        neck: keras.layers.Layer,
        head: keras.layers.Layer,
        frame: Frame = (640, 640),
        weight_decay: NonNegativeFloat = 4e-5,
        seed: Seed = 0,
        test_time_augmentation: TestTimeAugmentation | None = None,
        tiles: Tiles | None = None,
        **kwargs,
    ):
        super().__init__(backbone, neck, frame, weight_decay, seed, test_time_augmentation, tiles, **kwargs)
        self.head = head

    @property
    def detections(self) -> int | None:
        """The most detections that an image is given; None where no limit is known, as with tiles."""
        return None if self.tiles else getattr(self.head, "detections", None)

    def loss_parts(
        self,
        pyramid: Mapping[int, tf.Tensor],
        frame: tuple[int, int],
        targets: Mapping,
        seed: tf.Tensor,
        training: bool = True,
    ) -> dict[str, tf.Tensor]:
        """Losses of the head over all anchors; nothing is sampled, so `seed` decides nothing."""
        return self.head.loss_parts(self.head(pyramid, training=training), frame, targets)

    def detect(
        self, pyramid: Mapping[int, tf.Tensor], frame: tuple[int, int], image_size: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """Returns the detections of the head after NMS."""
        return self.head.detect(self.head(pyramid, training=False), frame, image_size)
