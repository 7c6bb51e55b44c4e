import tensorflow as tf

from tests.layer_suite import LayerSuite, VariantSuite
from tf_frozen.heads.box_head import BoxHead
from tf_frozen.layers.norm import default_norm


class BoxHeadCase:
    sizes = ((4, 4),)

    def inputs(self, batch, size):
        return tf.random.stateless_normal([batch, 5, *size, 6], [1, 2])

    def shapes(self, batch, size):
        return (batch, 5, 4), (batch, 5, self.boxes, 4)


class ClassAgnosticBoxHeadTest(BoxHeadCase, LayerSuite, tf.test.TestCase):
    boxes = 1

    def layer(self):
        return BoxHead(3, convs=1, filters=4, fcs=1, fc_units=8, norm=default_norm())


class ClassAwareBoxHeadTest(BoxHeadCase, VariantSuite, tf.test.TestCase):
    boxes = 4

    def layer(self):
        return BoxHead(3, convs=2, filters=4, fcs=2, fc_units=8, class_agnostic=False, separable=True)


class BoxHeadTest(tf.test.TestCase):
    def parameters(self, head):
        head(tf.zeros([1, 1, 7, 7, 256]))
        return sum(weight.shape.num_elements() for weight in head.trainable_weights)

    def test_the_paper_s_settings_have_the_paper_s_parameters(self):
        for class_agnostic, millions in ((True, 16.360), (False, 16.729)):
            head = BoxHead(90, class_agnostic=class_agnostic, norm=default_norm())
            self.assertAlmostEqual(self.parameters(head) / 1e6, millions, delta=0.001 * millions)

    def test_fully_connected_layers_alone(self):
        head = BoxHead(1, convs=0, fcs=2, fc_units=8)
        outputs = 8 * 2 + 2 + 8 * 4 + 4
        self.assertEqual(self.parameters(head), 7 * 7 * 256 * 8 + 8 + 8 * 8 + 8 + outputs)

    def test_a_roi_s_outputs_depend_on_no_other_roi(self):
        head, features = BoxHead(2, 1, 4, 1, 8), tf.random.stateless_normal([2, 3, 4, 4, 5], [1, 2])
        logits, deltas = head(features)
        for image in range(2):
            for roi in range(3):
                alone = head(features[image : image + 1, roi : roi + 1])
                self.assertAllClose(alone[0][0, 0], logits[image, roi])
                self.assertAllClose(alone[1][0, 0], deltas[image, roi])


if __name__ == "__main__":
    tf.test.main()
