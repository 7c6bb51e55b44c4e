import pytest
import tensorflow as tf

from tests.data import shapes
from tests.detectors.overfit import norm, overfit, parts
from tf_frozen.detectors.mask_rcnn import MaskRCNN
from tf_frozen.evaluation.coco import score
from tf_frozen.heads.mask_head import MaskHead
from tf_frozen.keras_flavor import keras

FRAME, STEPS = (128, 160), 70


@pytest.mark.slow
class MaskOverfitTest(tf.test.TestCase):
    def test_three_shapes_are_learnt_by_heart(self):
        keras.utils.set_random_seed(0)
        source = shapes.source(self.get_temp_dir())
        masks = MaskHead(3, convs=2, filters=32, samples=16, norm=norm())
        model = MaskRCNN(*parts(24, 3, 10), masks, frame=FRAME, weight_decay=0.0)
        model(tf.zeros([1, *FRAME, 3]))
        rows = overfit(model, source, 1, STEPS)
        metrics = score(source.ground_truth, rows, masks=True)
        # Overlaps of 0.9 and more; a full box overlaps its shape by 0.5.
        self.assertGreater(metrics["mask_AP"], 0.89)
        self.assertGreater(metrics["AP"], 0.89)


if __name__ == "__main__":
    tf.test.main()
