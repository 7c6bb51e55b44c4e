import resource

import tensorflow as tf

from tf_frozen.backbones.efficientnet_lite import EfficientNetLite
from tf_frozen.detectors.rcnn import RCNN
from tf_frozen.errors import ConfigError
from tf_frozen.freezing.savings import savings
from tf_frozen.freezing.variable_paths import variable_paths
from tf_frozen.heads.box_cascade import BoxCascade
from tf_frozen.heads.box_head import BoxHead
from tf_frozen.heads.proposal_nms import ProposalNMS
from tf_frozen.heads.region_proposal import RegionProposal
from tf_frozen.keras_flavor import keras
from tf_frozen.layers.building import build, is_allocated, unallocated
from tf_frozen.layers.norm import default_norm
from tf_frozen.necks.fpn import FPN
from tf_frozen.necks.nas_fpn import NASFPN


def detector(fc_units=8):
    return RCNN(
        EfficientNetLite(levels=(3, 4, 5), mode="frozen_random"),
        NASFPN(8, 1),
        RegionProposal(8, norm=default_norm(), nms=ProposalNMS(candidates=(20, 20), proposals=(10, 10))),
        BoxCascade(BoxHead(2, 0, fcs=2, fc_units=fc_units), (0.5,), ((10, 10, 5, 5),)),
        frame=(64, 96),
    )


class BuildTest(tf.test.TestCase):
    def test_a_trace_makes_the_variables_that_a_run_makes(self):
        traced, run = detector(), detector()
        build(traced)
        run.detect_once(tf.zeros([1, 64, 96, 3]))
        self.assertEqual(list(variable_paths(traced)), list(variable_paths(run)))
        self.assertEqual([w.shape for w in traced.weights], [w.shape for w in run.weights])
        self.assertTrue(is_allocated(traced))
        traced.set_weights(run.get_weights())
        images = tf.random.stateless_uniform([1, 64, 96, 3], [1, 2], maxval=255.0)
        self.assertAllEqual(traced(images)["scores"], run(images)["scores"])

    def test_a_layer_that_refuses_the_shapes_is_named_with_its_reason(self):
        refused = detector()
        refused.neck = FPN(8, 3, 5, norm=keras.layers.GroupNormalization(groups=5))
        with self.assertRaises(ConfigError) as raised:
            build(refused)
        reason = "FPN: Number of groups (5) must be a multiple of the number of channels (8)."
        self.assertEqual(str(raised.exception), f"The detector cannot be built: {reason}")


class UnallocatedTest(tf.test.TestCase):
    def test_counts_are_those_of_a_model_with_values(self):
        with unallocated():
            counted = detector()
            build(counted)
        real = detector()
        build(real)
        self.assertFalse(is_allocated(counted))
        self.assertEqual(savings(counted), savings(real))

    def test_takes_no_memory(self):
        with unallocated():
            large = detector(fc_units=50_000)
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            build(large)
        weights = sum(w.shape.num_elements() * 4 for w in large.weights)
        self.assertGreater(weights, 10e9)
        self.assertLess(1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before), 1e9)

    def test_holds_only_within(self):
        with unallocated():
            pass
        self.assertAllEqual(keras.layers.Dense(2)(tf.ones([1, 3])).shape, (1, 2))


if __name__ == "__main__":
    tf.test.main()
