import numpy as np
import tensorflow as tf

from tests.data import shapes
from tests.data.shapes import HEIGHT, WIDTH
from tf_frozen.data.augmentation.color_jitter import ColorJitter
from tf_frozen.data.augmentation.quarter_turns import QuarterTurns
from tf_frozen.data.augmentation.scale_jitter import ScaleJitter
from tf_frozen.data.pipeline import TrainBatches, eval_batches


def paste(mask, box, size):
    """Which pixels of a picture of this size are the object: those whose centre lies in a cell that is."""
    y1, x1, y2, x2 = box
    place = [
        np.floor((np.arange(side) + 0.5 - low) / (high - low) * len(mask)).astype(int)
        for side, low, high in zip(size, (y1, x1), (y2, x2), strict=True)
    ]
    rows, columns = np.meshgrid(*place, indexing="ij")
    inside = (rows >= 0) & (rows < len(mask)) & (columns >= 0) & (columns < len(mask))
    return inside & (mask[np.clip(rows, 0, len(mask) - 1), np.clip(columns, 0, len(mask) - 1)] > 0)


class MaskBatchesTest(tf.test.TestCase):
    def source(self, *crowd):
        return shapes.source(self.get_temp_dir(), *crowd)

    def overlaps(self, train, steps):
        """IoU of each target's pasted mask with the pixels of its colour, of objects that show 150 pixels or more."""
        found = []
        for images, targets in train.dataset(0, steps):
            for image, boxes, classes, masks in zip(
                images.numpy(), *(targets[name].numpy() for name in ("boxes", "classes", "masks")), strict=True
            ):
                self.assertAllEqual(masks[classes == 0], np.zeros_like(masks[classes == 0]))
                for box, number, mask in zip(boxes, classes, masks, strict=True):
                    # Where the border's padding, which is grey, mixes in, the colour is still the strongest.
                    shown = (image[..., number - 1] > 128) & (image.sum(-1) < 300) if number else np.zeros([1])
                    if shown.sum() >= 150:
                        pasted = paste(mask, box, image.shape[:2])
                        found.append((pasted & shown).sum() / (pasted | shown).sum())
        return found

    def test_masks_go_with_turned_scaled_and_cropped_pictures(self):
        train = TrainBatches(
            self.source(), (128, 160), 4, 1, augmentation=(QuarterTurns(),), placement=ScaleJitter(0.6, 2.0)
        )
        overlaps = self.overlaps(train, 8)
        self.assertGreater(len(overlaps), 50)
        self.assertGreater(min(overlaps), 0.9)

    def test_masks_without_augmentation(self):
        overlaps = self.overlaps(TrainBatches(self.source(), (HEIGHT, WIDTH), 1), 1)
        self.assertLen(overlaps, 3)
        self.assertGreater(min(overlaps), 0.95)

    def test_contract(self):
        ((_, targets),) = TrainBatches(self.source(), (64, 64), 2, augmentation=(ColorJitter(),)).dataset(0, 1)
        self.assertEqual((targets["masks"].shape, targets["masks"].dtype), ((2, 3, 112, 112), tf.uint8))
        ((_, targets),) = TrainBatches(self.source(), (64, 64), 2, mask_size=28).dataset(0, 1)
        self.assertEqual(targets["masks"].shape, (2, 3, 28, 28))

    def test_crowds_are_left_out_with_their_masks(self):
        ((_, whole),) = TrainBatches(self.source(), (64, 64), 1).dataset(0, 1)
        ((_, targets),) = TrainBatches(self.source((False, True, False)), (64, 64), 1).dataset(0, 1)
        self.assertAllEqual(targets["masks"][0], tf.gather(whole["masks"][0], [0, 2]))

    def test_an_image_without_objects(self):
        source = self.source((True, True, True))
        ((_, targets),) = TrainBatches(source, (64, 64), 1, placement=ScaleJitter()).dataset(0, 1)
        self.assertAllEqual(targets["masks"], np.zeros([1, 1, 112, 112]))

    def test_nothing_is_decoded_for_scoring(self):
        ((_, targets),) = eval_batches(self.source(), (64, 64), 1)
        self.assertNotIn("masks", targets)


if __name__ == "__main__":
    tf.test.main()
