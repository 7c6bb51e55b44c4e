import json
from unittest import mock

import tensorflow as tf

from tests.freezing import tiny
from tf_frozen.errors import ConfigError
from tf_frozen.freezing.audit import CHECKS, Audit
from tf_frozen.freezing.fingerprint import fingerprints
from tf_frozen.freezing.policy import Policy, as_dict, table
from tf_frozen.freezing.variable_paths import frozen_variables, variable_paths
from tf_frozen.keras_flavor import keras

LAST_LAYER = [("box_heads/.*/classes/.*", "trained"), (".*", "frozen")]


def starting(paths, *starts):
    return {path for path in paths if path.startswith(starts)}


class PolicyTest(tf.test.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = tiny.detector("fine_tune")
        cls.paths = variable_paths(cls.model)
        cls.weights = cls.model.get_weights()
        cls.flags = {id(layer): layer.trainable for layer in cls.layers()}

    @classmethod
    def layers(cls):
        return [module for module in cls.model.submodules if isinstance(module, keras.layers.Layer)]

    def setUp(self):
        super().setUp()
        self.model.backbone.mode = "fine_tune"
        Policy().apply(self.model)  # the order of Keras's weights depends on what trains
        self.model.set_weights(self.weights)

    def trained(self):
        ids = {id(weight) for weight in self.model.trainable_weights}
        return {path for path, variable in self.paths.items() if id(variable) in ids}

    def step(self, rules):
        """The audit of two steps under these rules, and the paths of the variables that they changed."""
        Policy(rules).apply(self.model)
        self.model.compile(keras.optimizers.SGD(0.01, momentum=0.9))
        step = tiny.traced_step(self.model)
        audit = Audit(self.model, self.model.optimizer)
        before = fingerprints(self.paths)
        for _ in range(2):
            step(tiny.batch())
        audit.finish(step)
        after = fingerprints(self.paths)
        return audit.as_dict(), {path for path in before if before[path] != after[path]}

    def assertRefused(self, message, *rules, mode="fine_tune", **options):
        self.model.backbone.mode = mode
        with self.assertRaisesRegex(ConfigError, message):
            Policy(list(rules), **options).apply(self.model)

    def test_without_rules_the_mode_decides(self):
        for mode, backbone in (("frozen", 0), ("fine_tune", 50), ("scratch", 50), ("frozen_random", 0)):
            self.model.backbone.mode = mode
            decisions = Policy().apply(self.model)
            self.assertEqual({decision.source for decision in decisions}, {f"mode '{mode}'"})
            trained = starting(self.trained(), "backbone/")
            self.assertEqual(bool(trained), bool(backbone), mode)
            self.assertEqual(self.model.backbone.frozen, not backbone)

    def test_adapters_of_a_frozen_backbone_train(self):
        adapter = self.paths["backbone/stage_3/b3_dw/depthwise_kernel"]
        kind = type(self.model.backbone)
        with mock.patch.object(kind, "adapter_variables", [adapter]):
            self.model.backbone.mode = "frozen_with_adapters"
            decisions = Policy().apply(self.model)
        self.assertEqual(starting(self.trained(), "backbone/"), {"backbone/stage_3/b3_dw/depthwise_kernel"})
        self.assertEqual(
            [d.pattern for d in decisions if d.path.endswith("b3_dw/depthwise_kernel")], ["the backbone's adapters"]
        )

    def test_every_variable_is_claimed_once_by_the_first_pattern(self):
        rules = [("backbone/stage_2/stem.*", "trained"), ("backbone/stage_2/.*", "frozen"), ("neck/.*", "frozen")]
        decisions = Policy(rules).apply(self.model)
        self.assertCountEqual([decision.path for decision in decisions], self.paths)
        by_source = {}
        for decision in decisions:
            by_source.setdefault(decision.source, set()).add(decision.path)
        self.assertEqual(by_source["rule 1"], starting(self.paths, "backbone/stage_2/stem"))
        self.assertEqual(by_source["rule 2"], starting(self.paths, "backbone/stage_2/b"))
        self.assertEqual(by_source["rule 3"], starting(self.paths, "neck/"))
        self.assertEqual(set(frozen_variables(self.model)), starting(self.paths, "backbone/stage_2/b", "neck/"))

    def test_the_first_stage_frozen_runs_and_is_audited(self):
        report, changed = self.step([("backbone/stage_2/.*", "frozen")])
        stage = starting(self.paths, "backbone/stage_2/")
        self.assertLen(stage, 45)
        self.assertEqual(set(report["start"]["fingerprints"]), stage)
        self.assertEqual((report["verdict"], report["frozen_norms"]), ("frozen", 9))
        self.assertEqual([report[check] for check in CHECKS], [0] * 7)
        self.assertFalse(changed & stage)
        self.assertContainsSubset(
            {"backbone/stage_3/b3_expand/kernel", "backbone/stage_3/b3_bn0/moving_mean", "neck/convs/0/kernel"}, changed
        )

    def test_a_later_stage_frozen_alone_keeps_its_statistics(self):
        report, changed = self.step([("backbone/stage_3/.*", "frozen")])
        self.assertEqual([report[check] for check in CHECKS], [0] * 7)
        self.assertFalse(starting(changed, "backbone/stage_3/"))
        self.assertContainsSubset(
            {"backbone/stage_2/stem_conv/kernel", "backbone/stage_2/stem_bn/moving_mean"}, changed
        )

    def test_all_but_the_last_layer_trains_that_alone(self):
        report, changed = self.step(LAST_LAYER)
        last = {"box_heads/heads/0/classes/kernel", "box_heads/heads/0/classes/bias"}
        self.assertEqual(changed, last)
        self.assertEqual(self.trained(), last)
        self.assertEqual([report[check] for check in CHECKS], [0] * 7)
        self.assertEqual(report["frozen_variables"], len(self.paths) - 2)

    def test_a_layer_may_be_split(self):
        report, changed = self.step([(".*/bias", "trained"), (".*", "frozen")])
        biases = {path for path in self.paths if path.endswith("/bias")}
        self.assertEqual(self.trained(), biases)
        self.assertContainsSubset(changed, biases)
        self.assertNotEmpty(changed)
        self.assertEqual(report["verdict"], "frozen")
        self.assertLen(self.model.weights, len(self.paths))
        self.assertLen(self.model.non_trainable_weights, len(self.paths) - len(biases))

    def test_only_stages_frozen_from_the_input_on_run_before_the_tape(self):
        images = self.model.backbone.preprocess(tiny.batch()[0])
        for rules, levels in (
            ([("backbone/stage_2/.*", "frozen")], [2]),
            ([("backbone/stage_3/.*", "frozen")], []),
            ([("backbone/.*", "frozen")], [2, 3]),
            ([("neck/.*", "frozen")], []),
        ):
            Policy(rules).apply(self.model)
            frozen = self.model.backbone.frozen_features(images)
            self.assertEqual(list(frozen), levels)
            features = self.model.backbone.training_features(images, frozen)
            self.assertEqual(list(features), [2, 3])
            inference = self.model.backbone(images, training=False)
            for level in levels:
                self.assertAllClose(features[level], inference[level], rtol=1e-5, atol=1e-5)

    def test_rules_end_at_a_step_and_everything_is_as_without_them(self):
        policy = Policy(LAST_LAYER, until=10)
        self.assertEqual([policy.phase(step) for step in (0, 9, 10, 11)], [0, 0, 10, 10])
        policy.apply(self.model, step=9)
        self.assertLen(self.trained(), 2)
        decisions = policy.apply(self.model, step=10)
        self.assertEqual({decision.source for decision in decisions}, {"mode 'fine_tune'"})
        self.assertEqual({id(layer): layer.trainable for layer in self.layers()}, self.flags)
        self.assertEqual(self.trained(), {p for p, v in self.paths.items() if v.trainable})
        self.assertEmpty(frozen_variables(self.model))

    def test_a_detector_compiled_again_trains_by_the_new_rules(self):
        self.model.compile(keras.optimizers.SGD(0.01))
        data = tf.data.Dataset.from_tensors(tiny.batch())
        self.model.fit(data, verbose=0)
        Policy(LAST_LAYER).apply(self.model)
        self.model.compile(keras.optimizers.SGD(0.01))
        before = fingerprints(self.paths)
        self.model.fit(data, verbose=0)
        after = fingerprints(self.paths)
        self.assertEqual({path for path in before if before[path] != after[path]}, self.trained())

    def test_a_pattern_that_claims_nothing_is_explained(self):
        self.assertRefused(
            r"rule 1, 'backbone/stage_1/\.\*', matches no variable. Did you mean .*'backbone/stage_2'.* "
            r"There it could be 'backbone/stage_2', 'backbone/stage_3'; patterns must match whole paths",
            ("backbone/stage_1/.*", "frozen"),
        )
        self.assertRefused("Did you mean 'backbone'.* could be 'backbone', 'neck',", ("backbon/.*", "frozen"))
        self.assertRefused("could be .* and 1[0-9] more", ("backbone/stage_2/head/.*", "frozen"))
        self.assertRefused("matches no variable", ("back(bone/stage_4|bone/stage_5)/.*", "frozen"))
        self.assertRefused(
            r"rule 2, 'neck/convs/.*', decides nothing: .* claimed before it by rule 1, 'neck/.*'. Put it first",
            ("neck/.*", "frozen"),
            ("neck/convs/.*", "trained"),
        )

    def test_what_is_no_rule_is_refused(self):
        self.assertRefused(r"Rule 1 of Policy.rules, '\(', is not a regular expression: .*position 0", ("(", "frozen"))
        self.assertRefused(
            "Rule 1 of Policy.rules decides 'freeze'; it must be 'frozen' or 'trained'", ("neck/.*", "freeze")
        )
        self.assertRefused("Policy.rules is .*sequences of 2 strings", ("neck/.*", "frozen"), ("neck/.*",))
        self.assertRefused("until is 0; it must be an integer from 1", until=0)
        with self.assertRaisesRegex(ConfigError, "Policy.rules is 'neck/.*'; it must be a sequence of sequences"):
            Policy("neck/.*")

    def test_a_backbone_called_frozen_does_not_train(self):
        self.assertRefused(
            "rule 1, 'backbone/stage_3/.*', would train 30 variables of a backbone whose mode is 'frozen', as "
            "backbone/stage_3/.*BACKBONE_MODE = 'fine_tune' and freeze a part",
            ("backbone/stage_3/.*", "trained"),
            mode="frozen",
        )

    def test_a_batch_norm_is_decided_as_a_whole(self):
        self.assertRefused(
            "split the batch norm backbone/stage_2/stem_bn: gamma is frozen by rule 1, .* is trained by mode",
            ("backbone/.*/gamma", "frozen"),
        )

    def test_an_end_of_the_rules_must_change_something(self):
        message = r"until is 5, but nothing changes at that step: .* mode is '{}'.*BACKBONE_MODE = 'fine_tune'"
        self.assertRefused(message.format("frozen"), until=5, mode="frozen")
        self.assertRefused(message.format("frozen"), ("backbone/.*", "frozen"), until=5, mode="frozen")
        self.assertRefused(message.format("fine_tune"), ("neck/.*", "trained"), until=5)

    def test_something_must_train(self):
        self.assertRefused("Nothing of .* would train", (".*", "frozen"))

    def test_a_refused_policy_changes_nothing(self):
        Policy().apply(self.model)
        before = self.trained()
        self.assertRefused("split the batch norm", ("neck/.*", "frozen"), ("backbone/.*/gamma", "frozen"))
        self.assertEqual(self.trained(), before)

    def test_the_table_and_the_json(self):
        decisions = Policy([("backbone/stage_2/.*", "frozen")]).apply(self.model)
        lines = table(decisions).split("\n")
        self.assertLen(lines, 3)
        self.assertRegex(
            lines[1], r"^backbone/stage_2/\.\*  frozen   +45 +17,008  rule 1 .*backbone/stage_2/stem_conv/kernel$"
        )
        self.assertRegex(lines[2], r"^\.\* +trained +92 .*mode 'fine_tune'")
        report = json.loads(json.dumps(as_dict(decisions)))
        self.assertEqual((report["frozen"], report["trained"], len(report["variables"])), (45, 92, 137))
        self.assertEqual(
            report["variables"][0],
            {
                "path": "backbone/stage_2/stem_conv/kernel",
                "pattern": "backbone/stage_2/.*",
                "outcome": "frozen",
                "source": "rule 1",
                "parameters": 864,
            },
        )


if __name__ == "__main__":
    tf.test.main()
