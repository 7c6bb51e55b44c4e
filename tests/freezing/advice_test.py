from pathlib import Path

import numpy as np
import tensorflow as tf

from tf_frozen.backbones.efficientnet_lite import EfficientNetLite
from tf_frozen.backbones.residual_adapters import ResidualAdapters
from tf_frozen.backbones.resnet import ResNet
from tf_frozen.data.images import read
from tf_frozen.data.paths import resolve
from tf_frozen.errors import FreezeError
from tf_frozen.freezing.advice import advice, advice_on_batch
from tf_frozen.keras_flavor import keras
from tf_frozen.layers.building import unallocated
from tf_frozen.necks.fpn import FPN
from tf_frozen.necks.nas_fpn import NASFPN
from tf_frozen.necks.plain_convs import PlainConvs


class Pair(keras.Model):
    """The parts of a detector that the advice reads: a backbone and a neck on its feature maps."""

    def __init__(self, backbone, neck):
        super().__init__()
        self.backbone, self.neck = backbone, neck
        neck({level: tf.zeros([1, 64 >> level, 64 >> level, size]) for level, size in backbone.channels.items()})


class FedOtherwise(EfficientNetLite):
    """Its weights get images after another preprocessing than their own."""

    def __init__(self, change, **kwargs):
        super().__init__(levels=(2,), **kwargs)
        self.change = change

    def preprocess(self, images):
        return self.change(images)


class AdviceTest(tf.test.TestCase):
    def advice(self, neck, mode="frozen", **options):
        return advice(Pair(EfficientNetLite(levels=(3, 4, 5), mode=mode, **options), neck))

    def large(self):
        return NASFPN(filters=256, repeats=1)

    def test_a_frozen_backbone_under_fpn_or_plain_convolutions(self):
        for neck, said in (
            (FPN(filters=512, min_level=3, max_level=5), r"frozen under FPN\..* 42\.1 AP frozen and 48\.6 fine-tuned"),
            (PlainConvs(filters=512, min_level=3, max_level=5), r"frozen under PlainConvs\. It has less.* 42\.1 AP"),
        ):
            (line,) = self.advice(neck)
            self.assertRegex(line, said)
            self.assertIn("'fine_tune'", line)
            self.assertEqual(self.advice(neck, "fine_tune"), [])

    def test_the_figures_of_long_runs_say_nothing_of_short_ones(self):
        pair = Pair(EfficientNetLite(levels=(3, 4, 5)), FPN(filters=8, min_level=3, max_level=5))
        self.assertEqual([len(advice(pair, steps)) for steps in (600, 13_304, 13_305, 133_056)], [0, 0, 1, 1])

    def test_a_frozen_backbone_under_little_that_trains(self):
        backbone = sum(v.shape.num_elements() for v in EfficientNetLite(mode="fine_tune").trainable_variables)
        (line,) = self.advice(NASFPN(filters=8, repeats=1))
        small = NASFPN(filters=8, repeats=1)
        self.assertEqual(self.advice(small, "fine_tune"), [])
        trained = sum(v.shape.num_elements() for v in small.trainable_variables)
        self.assertIn(f"{100 * trained / (trained + backbone):.1f} % of the parameters", line)
        self.assertRegex(line, "lost 6.5 AP at 26 %, nothing at 40 %, and gained 0.7 AP at 54 %")
        self.assertEqual(self.advice(self.large()), [])

    def test_random_frozen_weights(self):
        (line,) = self.advice(self.large(), "frozen_random")
        self.assertRegex(line, r"random and frozen \(mode 'frozen_random'\).* learnt nothing")
        self.assertEqual(self.advice(self.large(), "scratch"), [])

    def test_frozen_norms_of_another_epsilon_than_the_published_weights(self):
        for epsilon, warned in ((1e-4, True), (1e-5, False)):
            backbone = ResNet(18, levels=(3, 4, 5), mode="scratch", norm_epsilon=epsilon)
            model = Pair(backbone, NASFPN(filters=256, repeats=3))
            self.assertEqual(advice(model), [])
            backbone.trainable, backbone.mode, backbone.weights_source = False, "frozen", "ResNet-18, here"
            lines = advice(model)
            self.assertLen(lines, int(warned))
            if warned:
                self.assertRegex(
                    lines[0], "have epsilon 0.0001, but .* ResNet were trained with 1e-05.*ResNet-18, here"
                )


class BatchAdviceTest(tf.test.TestCase):
    """On tiles of the quickstart, through the published EfficientNet-Lite0."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        folder = Path(resolve("embedded:neon_trees/train"))
        pictures = [read(str(path))[:256, :256] for path in sorted(folder.iterdir())[:4]]
        cls.images = tf.constant(np.stack(pictures), tf.float32)
        cls.whole = tf.fill([len(cls.images), 2], float(cls.images.shape[1]))

    def on_batch(self, change, images=None, image_size=None, **options):
        model = Pair(FedOtherwise(change, **options), PlainConvs(filters=4, min_level=2, max_level=2))
        images = self.images if images is None else images
        return advice_on_batch(model, images, self.whole if image_size is None else image_size)

    def right(self, images):
        return (images - 127.0) / 128.0

    def test_images_as_the_weights_want_them_pass(self):
        self.assertEqual(self.on_batch(self.right), [])
        # Nothing tells these from other photographs.
        self.assertEqual(self.on_batch(lambda images: self.right(images[..., ::-1])), [])

    def test_images_in_0_to_255_as_they_are_are_refused_with_both_variances(self):
        with self.assertRaisesRegex(
            FreezeError, r"Lite0, imagenet.*\(stem_bn\).*variance of \d+e?.*, [\d.e+]+ times the"
        ):
            self.on_batch(lambda images: images)

    def test_images_in_0_to_1_through_the_preprocessing_of_0_to_255_are_refused(self):
        with self.assertRaisesRegex(FreezeError, r"1/[\d.e+]+ of the norm's.*preprocess"):
            self.on_batch(lambda images: self.right(images / 255.0))
        with self.assertRaisesRegex(FreezeError, r"1/[\d.e+]+ of"):
            self.on_batch(self.right, self.images / 255.0)

    def test_a_moderate_difference_is_a_warning(self):
        (line,) = self.on_batch(lambda images: 6.0 * self.right(images))
        self.assertRegex(line, "times the norm's .* If your images are like that, ignore this warning")

    def test_images_that_hardly_vary_are_not_the_fault_of_the_preprocessing(self):
        (line,) = self.on_batch(self.right, 100.0 + self.images / 100.0)
        self.assertIn("hardly vary themselves", line)

    def test_a_backbone_that_was_built_anew_for_adapters_is_measured_too(self):
        fine = EfficientNetLite(levels=(2,), mode="frozen_with_adapters", adapters=ResidualAdapters(depthwise=True))
        model = Pair(fine, PlainConvs(filters=4, min_level=2, max_level=2))
        self.assertEqual(advice_on_batch(model, self.images, self.whole), [])
        with self.assertRaises(FreezeError):
            advice_on_batch(model, self.images / 255.0, self.whole)

    def test_padding_does_not_count(self):
        side, times = 64, 16
        around = [[0, 0], [0, (times - 1) * side], [0, (times - 1) * side], [0, 0]]
        padded = tf.pad(self.images[:, :side, :side], around)
        image_size = tf.fill([len(padded), 2], float(side))
        self.assertEqual(self.on_batch(self.right, padded, image_size), [])
        # Counted in, they leave one part in 256 that varies.
        (line,) = self.on_batch(self.right, padded, image_size * times)
        self.assertIn("of the norm's", line)

    def test_where_there_is_nothing_to_measure_it_is_silent(self):
        for mode in ("fine_tune", "scratch", "frozen_random"):
            self.assertEqual(self.on_batch(lambda images: images, mode=mode), [])
        with unallocated():
            backbone = FedOtherwise(lambda images: images)
        model = Pair(backbone, PlainConvs(filters=4, min_level=2, max_level=2))
        self.assertEqual(advice_on_batch(model, self.images, self.whole), [])


if __name__ == "__main__":
    tf.test.main()
