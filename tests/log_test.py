"""Tests of log.py."""

import contextlib
import io
import logging

import tensorflow as tf

from tf_frozen.log import shown


class LogTest(tf.test.TestCase):
    def setUp(self):
        super().setUp()
        root = logging.root
        before = root.handlers[:], root.level
        self.addCleanup(lambda: (setattr(root, "handlers", before[0]), root.setLevel(before[1])))
        root.handlers = []
        root.setLevel(logging.WARNING)

    def said(self):
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            with shown(), shown():
                logging.getLogger("tf_frozen.training").info("step 1")
                logging.getLogger("tf_frozen.training").warning("slow")
        self.assertFalse(logging.getLogger("tf_frozen").handlers)
        self.assertTrue(logging.getLogger("tf_frozen").propagate)
        return out.getvalue(), err.getvalue()

    def test_messages_show_where_nothing_configured_logging(self):
        self.assertEqual(self.said(), ("step 1\n", "slow\n"))
        logging.basicConfig()  # as TensorFlow does when it saves a checkpoint
        self.assertEqual(self.said(), ("step 1\n", "slow\n"))

    def test_a_user_s_own_configuration_is_left_alone(self):
        logging.basicConfig(format="mine: %(message)s", stream=io.StringIO())
        self.assertEqual(self.said(), ("", ""))
        self.assertEqual(logging.root.handlers[0].stream.getvalue(), "mine: slow\n")
