import gin
import pytest
import tensorflow as tf

from tests.necks.pyramids import RESNET_CHANNELS, parameters, pyramid
from tf_frozen.config import gin_files
from tf_frozen.config.load import load_config
from tf_frozen.keras_flavor import keras
from tf_frozen.layers.building import unallocated

B7_CHANNELS = {3: 80, 4: 224, 5: 640}
B0_CHANNELS = {3: 40, 4: 112, 5: 320}

# File, bindings, channels of the backbone, and what the neck must be: levels, channels and trainable parameters in
# millions (FPN and NAS-FPN as the official code builds them, BiFPN by EfficientDet's totals; the others worked out).
PAPER = (
    ("fpn", (), RESNET_CHANNELS, (2, 6), 256, 3.937),
    ("fpn_3_7", (), RESNET_CHANNELS, (3, 7), 256, 3.871),
    ("nas_fpn", (), RESNET_CHANNELS, (3, 7), 256, 21.591),
    ("nas_fpn_bottleneck", (), B7_CHANNELS, (3, 7), 1024, 61.166),
    ("plain_convs", (), RESNET_CHANNELS, (2, 6), 256, 8.849),
    ("plain_convs", ("NECK_CONVS = 2",), RESNET_CHANNELS, (2, 6), 256, 11.211),
    ("bifpn", (), B0_CHANNELS, (3, 7), 64, 0.196),
    (
        "bifpn",
        ("BIFPN_FILTERS = 384", "BIFPN_REPEATS = 2", "BIFPN_MAX_LEVEL = 8", "BIFPN_FUSION = 'sum'"),
        B7_CHANNELS,
        (3, 8),
        384,
        3.988,
    ),
)
SMALL = {"fpn_small": 0.216, "bifpn_small": 0.196, "nas_fpn_small": 0.809}


class NeckFilesTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        self.addCleanup(gin.clear_config)

    def neck(self, files, params=()):
        load_config(files, params)
        return gin.query_parameter("NECK/gin.macro.value").scoped_configurable_fn()

    def check(self, neck, channels, levels, filters, millions):
        outputs = _traced(neck, channels)
        self.assertEqual({level: x.shape[-1] for level, x in outputs.items()}, _all(levels, filters))
        self.assertEqual(round(parameters(neck) / 1e6, 3), millions)

    @pytest.mark.slow
    def test_paper_size_files_take_the_norm_and_give_the_paper_s_neck(self):
        for name, params, *expected in PAPER:
            with self.subTest(f"{name} {params}"):
                neck = self.neck(["norms/sync_batch_norm.gin", f"necks/{name}.gin"], params)
                self.assertIsInstance(neck.norm, keras.layers.experimental.SyncBatchNormalization)
                self.check(neck, *expected)

    def test_small_files_stand_alone(self):
        for name, millions in SMALL.items():
            with self.subTest(name):
                neck = self.neck([f"necks/{name}.gin"])
                self.assertEqual(neck.norm.momentum, 0.99)
                self.check(neck, B0_CHANNELS, (3, 7), 64, millions)

    def test_every_shipped_neck_is_tested(self):
        shipped = {name for name, _ in gin_files.shipped() if name.startswith("necks/")}
        self.assertEqual(shipped, {f"necks/{name}.gin" for name in [*(row[0] for row in PAPER), *SMALL]})


def _all(levels, filters):
    return dict.fromkeys(range(levels[0], levels[1] + 1), filters)


def _traced(neck, channels):
    """What a neck gives, traced but run nowhere, and without memory for its weights."""
    with unallocated(), tf.__internal__.FuncGraph("neck").as_default():
        return neck(pyramid(1, (64, 64), channels))


if __name__ == "__main__":
    tf.test.main()
