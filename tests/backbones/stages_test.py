import tensorflow as tf

from tf_frozen.backbones.backbone import Backbone
from tf_frozen.backbones.keras_application import KerasApplication
from tf_frozen.backbones.resnet import ResNet
from tf_frozen.backbones.stages import Stages
from tf_frozen.freezing.variable_paths import variable_paths
from tf_frozen.keras_flavor import keras


def network(skip=False):
    """Three stages of a named convolution, a batch norm without a name, and dropout; `skip` leads around the second."""
    inputs = x = keras.Input([None, None, 3])
    feature_maps = []
    for level in (1, 2, 3):
        x = keras.layers.Conv2D(4, 3, 2, "same", name=f"conv_{level}")(x)
        x = keras.layers.Dropout(0.5)(keras.layers.BatchNormalization()(x))
        feature_maps.append(x)
        if skip and level == 2:
            around = keras.layers.Conv2D(4, 3, 4, "same", name="around")(inputs)
            x = keras.layers.Add()([x, around])
    return keras.Model(inputs, feature_maps)


class Plain(Backbone):
    def __init__(self, skip=False):
        super().__init__(network(skip), (1, 2, 3), "scratch", None)

    def preprocess(self, images):
        return images / 255.0


def freeze(backbone, *levels):
    for name, layer in backbone.stage_layers.items():
        layer.trainable = int(name[6]) not in levels


class StagesTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.images = tf.random.stateless_uniform([2, 24, 16, 3], [1, 2])

    def test_layers_by_stage_whatever_the_process_has_built(self):
        expected = [
            f"stage_{level}/{name}"
            for level in (1, 2, 3)
            for name in (f"conv_{level}", "batch_normalization_1", "dropout_1")
        ]
        for _ in range(2):
            found = list(Stages(network(), (1, 2, 3)).layers)
            self.assertEqual([name for name in found if "input" not in name], expected)

    def test_every_weight_of_a_functional_backbone_has_a_stage(self):
        for backbone, levels in (
            (ResNet(10, (2, 3, 4, 5), "frozen_random"), "2345"),
            (KerasApplication("MobileNetV2", (3, 4, 5), "frozen_random"), "345"),
        ):
            paths = variable_paths(backbone)
            self.assertEqual({path[:8] for path in paths}, {f"stage_{level}/" for level in levels})
            self.assertLen(paths, len(backbone.weights))

    def test_in_pieces_the_network_gives_what_it_gives_whole(self):
        for skip in (False, True):
            backbone = Plain(skip)
            whole = backbone(self.images, training=False)
            freeze(backbone, 1)
            stages = Stages(backbone.network, (1, 2, 3))
            pieces = stages.features(self.images, stages.frozen_features(self.images), training=False)
            for level in (1, 2, 3):
                self.assertAllClose(pieces[level], whole[level], rtol=1e-6, atol=1e-6)

    def test_levels_of_frozen_features(self):
        for frozen, levels in (
            ((), []),
            ((1,), [1]),
            ((1, 2), [1, 2]),
            ((2,), []),
            ((1, 3), [1]),
            ((1, 2, 3), [1, 2, 3]),
        ):
            backbone = Plain()
            freeze(backbone, *frozen)
            self.assertEqual(list(backbone.frozen_features(self.images)), levels)

    def test_where_a_later_map_reads_the_images_there_is_no_cut(self):
        backbone = Plain(skip=True)
        freeze(backbone, 1, 2)
        self.assertEmpty(backbone.frozen_features(self.images))
        freeze(backbone, 1, 2, 3)
        self.assertEqual(list(backbone.frozen_features(self.images)), [1, 2, 3])

    def test_dropout_and_statistics_of_frozen_stages_rest_in_training(self):
        backbone = Plain()
        freeze(backbone, 1, 3)
        before = {path: variable.numpy() for path, variable in variable_paths(backbone).items()}
        maps = backbone.training_features(self.images, backbone.frozen_features(self.images))
        self.assertAllEqual(maps[1], backbone(self.images, training=False)[1])
        # The second stage draws its dropout, the third passes on what comes in.
        self.assertNotAllClose(maps[2], backbone(self.images, training=False)[2])
        third = backbone.stage_layers["stage_3/batch_normalization_1"](
            backbone.stage_layers["stage_3/conv_3"](maps[2]), training=False
        )
        self.assertAllClose(maps[3], third)
        moved = {path for path, v in variable_paths(backbone).items() if (v.numpy() != before[path]).any()}
        self.assertEqual(moved, {f"stage_2/batch_normalization_1/moving_{name}" for name in ("mean", "variance")})

    def test_a_padded_network_in_pieces(self):
        backbone = KerasApplication("MobileNetV2", (2, 3), "scratch")
        images = tf.random.stateless_uniform([1, 50, 70, 3], [1, 2])
        whole = backbone(images, training=False)
        freeze(backbone, 2)
        frozen = backbone.frozen_features(images)
        self.assertEqual(list(frozen), [2])
        self.assertAllClose(backbone.training_features(images, frozen)[2], whole[2], rtol=1e-5, atol=1e-5)
        self.assertEqual(
            {level: feature_map.shape for level, feature_map in whole.items()}, {2: (1, 13, 18, 24), 3: (1, 7, 9, 32)}
        )


if __name__ == "__main__":
    tf.test.main()
