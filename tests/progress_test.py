import io
import logging
import re
import time
from unittest import mock

import tensorflow as tf

from tf_frozen import progress
from tf_frozen.progress import Counter, duration

ITEMS = ["ab", "cd", "e"]


class Terminal(io.StringIO):
    """A stream that claims to be a terminal."""

    def isatty(self):
        return True


class CounterTest(tf.test.TestCase):
    def test_logs_a_line_now_and_then_but_the_last(self):
        with (
            mock.patch.object(progress, "_SECONDS", 0.0),
            self.assertLogs("tf_frozen", "INFO") as log,
            Counter(5, "scoring", "images", stream=io.StringIO()) as counter,
        ):
            found = []
            for item in counter.over(ITEMS, len):
                time.sleep(0.1)
                found.append(item)
        self.assertEqual(found, ITEMS)
        said = [record.getMessage() for record in log.records]
        self.assertEqual([line.partition(" | ")[0] for line in said], ["scoring: 2/5 images", "scoring: 4/5 images"])
        for line in said:
            rate, left = re.search(r"\| ([\d.]+) images/s \| (\d:\d\d) left$", line).groups()
            self.assertBetween(float(rate), 8, 20.1)
            self.assertEqual(left, "0:00")

    def test_a_bar_on_a_terminal_goes_away_and_messages_go_above_it(self):
        stream, said = Terminal(), io.StringIO()
        handler, logger = logging.StreamHandler(said), logging.getLogger("tf_frozen")
        handlers = logger.handlers[:]
        with self.assertLogs("tf_frozen", "INFO"), Counter(5, "scoring", "images", stream=stream) as counter:
            logger.addHandler(handler)
            list(counter.over(ITEMS, len))
            logger.info("found")
        self.assertRegex(stream.getvalue(), r"scoring: +0%\|.*0/5")
        self.assertEndsWith(stream.getvalue(), "\r")
        self.assertEqual(said.getvalue(), "found\n")
        self.assertEqual(logger.handlers, handlers)

    def test_shows_nothing_where_information_is_not_logged(self):
        stream = Terminal()
        with mock.patch.object(progress, "_SECONDS", 0.0), Counter(5, "scoring", "images", stream=stream) as counter:
            self.assertEqual(list(counter.over(ITEMS, len)), ITEMS)
        self.assertEqual(stream.getvalue(), "")

    def test_duration(self):
        self.assertEqual([duration(s) for s in (0, 45.4, 723, 10800)], ["0:00", "0:45", "12:03", "3:00:00"])


if __name__ == "__main__":
    tf.test.main()
