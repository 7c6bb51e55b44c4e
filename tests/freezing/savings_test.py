import tensorflow as tf

from tests.freezing import tiny
from tf_frozen.backbones.efficientnet_lite import EfficientNetLite
from tf_frozen.freezing.layers import layers, reasons
from tf_frozen.freezing.savings import optimizer_bytes, savings, table
from tf_frozen.keras_flavor import keras


class Pair(keras.Model):
    """A frozen convolution with its norm, then one that trains."""

    def __init__(self):
        super().__init__()
        self.backbone = keras.Sequential(
            [keras.layers.Conv2D(4, 3, padding="same", use_bias=False), keras.layers.BatchNormalization()]
        )
        self.head = keras.layers.Conv2D(2, 1)
        self.backbone.trainable = False
        self.frame = (8, 6)

    def call(self, x, training=False):
        return self.head(self.backbone(x, training=training))

    def detect_once(self, x):
        return self(x, training=False)

    def training_losses(self, images, targets):
        return {"loss": tf.reduce_sum(self(images, training=True) ** 2)}


class SavingsTest(tf.test.TestCase):
    def test_a_model_worked_out_by_hand(self):
        optimizer = keras.optimizers.Adam(1e-3)
        report = savings(Pair(), optimizer)
        frozen, trainable = 3 * 3 * 3 * 4 + 2 * 4, 4 * 2 + 2
        self.assertEqual(
            report["parameters"],
            {"total": 126, "trainable": trainable, "frozen": frozen, "trainable_percent": 7.94},
        )
        self.assertEqual(report["statistics"], 2 * 4)
        backbone, head = report["parts"]["backbone"], report["parts"]["head"]
        self.assertEqual(backbone["parameters"]["frozen"], frozen)
        self.assertEqual(backbone["forward_flops"], 8 * 6 * 4 * 27)
        all_trained = {"total": 10, "trainable": 10, "frozen": 0, "trainable_percent": 100.0}
        self.assertEqual(head["parameters"], all_trained)
        self.assertEqual(head["forward_flops"], 8 * 6 * 2 * 4)
        self.assertEqual(report["forward_flops"], 8 * 6 * (4 * 27 + 2 * 4))
        self.assertEqual(head["step_flops"], 2 * head["forward_flops"])  # its kernel's gradient, none for its input
        self.assertEqual(backbone["step_flops"], backbone["forward_flops"])
        self.assertEqual(head["step_flops_unfrozen"], 3 * head["forward_flops"])
        self.assertEqual(backbone["step_flops_unfrozen"], 2 * backbone["forward_flops"])
        self.assertEqual(report["step_flops"], 8 * 6 * (4 * 27 + 2 * 2 * 4))
        self.assertEqual(report["optimizer_bytes"], 2 * 4 * trainable)
        self.assertEqual(report["optimizer_bytes_unfrozen"], 2 * 4 * (trainable + frozen))
        # All that trains with its two slots; a backbone without a source is in every checkpoint.
        self.assertEqual(report["checkpoint_bytes"], 4 * (126 + 2 * 4) + 2 * 4 * trainable)
        self.assertEqual(report["checkpoint_bytes_unfrozen"], 4 * (126 + 2 * 4) + 2 * 4 * 126)
        # What the head's kernel and its squared outputs need; the backbone's own: the image and what its norm reads.
        maps, outputs, image = (4 * 8 * 6 * channels for channels in (4, 2, 3))
        self.assertEqual(report["activation_bytes"], maps + outputs)
        self.assertEqual(report["activation_bytes_unfrozen"], image + maps + maps + outputs)

    def test_a_checkpoint_holds_what_the_run_says(self):
        model, optimizer = tiny.detector(), keras.optimizers.SGD(0.1, momentum=0.9)
        trained = savings(model, optimizer, count_flops=False)
        everything = savings(model, optimizer, count_flops=False, checkpoints="everything")
        frozen = sum(4 * weight.shape.num_elements() for weight in model.backbone.weights)
        self.assertEqual(everything["checkpoint_bytes"] - trained["checkpoint_bytes"], frozen)
        self.assertEqual(trained["checkpoint_bytes_unfrozen"], everything["checkpoint_bytes_unfrozen"])

    def test_frame_and_batch_scale_the_flops(self):
        model = Pair()
        once = savings(model)["forward_flops"]
        self.assertEqual(savings(model, frame=(16, 12), batch=3)["forward_flops"], 12 * once)
        self.assertIsNone(savings(model, count_flops=False)["forward_flops"])

    def test_optimizer_bytes_are_those_of_the_real_optimizer(self):
        variables = [tf.Variable(tf.zeros(shape)) for shape in ([3, 5], [7], [], [3, 5])]
        rate = keras.optimizers.schedules.CosineDecay(0.1, 10)
        for optimizer in (
            keras.optimizers.SGD(rate),
            keras.optimizers.SGD(rate, momentum=0.9, use_ema=True),
            keras.optimizers.AdamW(rate, amsgrad=True),
        ):
            stateless = len(optimizer.variables)
            optimizer.build(variables)
            slots = optimizer.variables
            # The step count (int64) is no slot; the rest are float32.
            expected = sum(4 * v.shape.num_elements() for v in slots if v.dtype == tf.float32)
            self.assertGreater(len(slots), stateless - 1)
            self.assertEqual(optimizer_bytes(optimizer, variables), expected)

    def test_a_real_detector_by_parts(self):
        model = tiny.detector()
        report = savings(model)
        parameters = sum(w.shape.num_elements() for w in model.backbone.weights if "moving" not in w.name)
        self.assertEqual(report["parameters"]["frozen"], parameters)
        self.assertEqual(report["parts"]["backbone"]["parameters"]["trainable"], 0)
        trained = sum(v.shape.num_elements() for v in model.trainable_variables)
        self.assertEqual(report["parameters"]["trainable"], trained)
        for key in ("total", "trainable", "frozen"):
            self.assertEqual(
                sum(part["parameters"][key] for part in report["parts"].values()), report["parameters"][key]
            )
        self.assertEqual(sum(row["parameters"] for row in layers(model)), report["parameters"]["total"])
        self.assertEqual(sum(row["statistics"] for row in layers(model)), report["statistics"])

    def test_efficientnet_lite0_has_its_published_parameters(self):
        model = EfficientNetLite(levels=(5,))
        model.frame = (32, 32)
        counted = savings(model, count_flops=False)["parameters"]["frozen"]
        # 4,652,008, of which the last convolution, its norm and the classifier are not here.
        self.assertEqual(counted + 320 * 1280 + 2 * 1280 + 1281 * 1000, 4652008)

    def test_fine_tuning_freezes_nothing(self):
        model = tiny.detector("fine_tune")
        report = savings(model, keras.optimizers.SGD(0.1, momentum=0.9), count_flops=False)
        self.assertEqual(report["parameters"]["frozen"], 0)
        self.assertEqual(report["parameters"]["trainable_percent"], 100.0)
        self.assertEqual(report["optimizer_bytes"], report["optimizer_bytes_unfrozen"])
        self.assertEqual(report["reasons"], {})

    def test_reasons_name_the_mode_and_the_weights(self):
        model = tiny.detector()
        model.neck.convs[0].trainable = False
        given = reasons(model)
        self.assertEqual(list(given), ["backbone", "neck"])
        expected = "its mode is 'frozen', its weights are EfficientNet-Lite0, imagenet"
        self.assertEqual(given["backbone"], expected)
        self.assertRegex(given["neck"], r"^1 of its \d+ layers are set not trainable")
        self.assertIn("random", reasons(tiny.detector("frozen_random"))["backbone"])

    def test_table_for_a_terminal(self):
        lines = table(savings(Pair(), keras.optimizers.Adam(1e-3))).split("\n")
        self.assertEqual(lines[0].split("  ")[0], "part")
        self.assertEqual(
            lines[1].split(), ["backbone", "116", "0", "116", "0.0", "5.18", "k", "5.18", "k", "10.4", "k"]
        )
        whole = ["whole", "detector", "126", "10", "116", "7.9", "5.57", "k", "5.95", "k", "11.5", "k"]
        self.assertEqual(lines[3].split(), whole)
        self.assertEqual(len({len(line) for line in lines[:4]}), 1)
        costs = {line[:38].strip(): line[38:].split() for line in lines[7:14]}
        self.assertEqual(costs[""], ["all", "trained", "now", "share"])
        self.assertEqual(costs["trained parameters"], ["126", "10", "7.9", "%"])
        self.assertEqual(costs["multiply-adds of a step"], ["11.5", "k", "5.95", "k", "51.7", "%"])
        self.assertContainsSubset({"activations kept for the backward pass", "optimizer", "checkpoint"}, set(costs))
        self.assertIn("one image of 8 × 6 pixels", lines[14])

    def test_what_was_not_counted_is_not_in_the_table(self):
        model = Pair()
        model.build([None, 8, 6, 3])
        text = table(savings(model, count_flops=False))
        self.assertIn("trained parameters", text)
        for absent in ("None", "multiply-adds", "activations", "optimizer ", "checkpoint"):
            self.assertNotIn(absent, text.partition("\n\n")[2])


if __name__ == "__main__":
    tf.test.main()
