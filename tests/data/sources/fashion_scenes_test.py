import numpy as np
import tensorflow as tf

from tf_frozen.data.sources.fashion_scenes import compose, cut_outs

BACKGROUND = np.full([90, 120, 3], 77, np.uint8)


class FashionScenesTest(tf.test.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.objects = cut_outs("train")

    def scene(self, seed, shares=(1,) * 10, most=6):
        return compose(BACKGROUND, self.objects, shares, (20, 60), most, [seed])

    def test_halves_have_all_classes(self):
        for half, count in (("train", 500), ("test", 100)):
            found = cut_outs(half)
            self.assertAllEqual(np.bincount(found.classes), [count] * 10)
            self.assertEqual((found.images.shape, found.images.dtype), ((10 * count, 28, 28), np.uint8))
        self.assertEqual(found.names[9], "ankle boot")

    def test_a_scene_is_a_function_of_its_seed(self):
        first, again, other = self.scene(1), self.scene(1), self.scene(2)
        for one, two in zip(first, again, strict=True):
            self.assertAllEqual(one, two)
        self.assertNotAllEqual(first.image, other.image)

    def test_masks_and_boxes_are_exact(self):
        for seed in range(20):
            scene = self.scene(seed)
            self.assertLen(scene.masks, len(scene.classes))
            self.assertAllLessEqual(scene.masks.sum(0), 1)
            # A tinted object is never the background's even grey in all channels.
            self.assertAllEqual(scene.masks.any(0) | (scene.image == 77).all(-1), np.ones([90, 120], bool))
            for mask, (x, y, width, height) in zip(scene.masks, scene.boxes, strict=True):
                inside = mask[y : y + height, x : x + width]
                self.assertEqual(inside.sum(), mask.sum())
                for edge in (inside[0], inside[-1], inside[:, 0], inside[:, -1]):
                    self.assertTrue(edge.any())

    def test_shares_decide_the_classes(self):
        found = np.concatenate([self.scene(seed, (8, 0, 0, 1, 0, 0, 0, 0, 0, 0)).classes for seed in range(40)])
        self.assertEqual(set(found.tolist()), {0, 3})
        self.assertGreater((found == 0).sum(), 4 * (found == 3).sum())

    def test_objects_larger_than_the_background_are_cut_to_it(self):
        scene = compose(BACKGROUND[:20, :25], self.objects, (1,) * 10, (40, 60), 1, [3])
        self.assertEqual(scene.masks.shape[1:], (20, 25))


if __name__ == "__main__":
    tf.test.main()
