"""Thousands of damaged gin texts: each is read or refused with a message, and nothing else."""

import os
import random
import tempfile

import gin
import pytest
import tensorflow as tf

import tf_frozen.training.run  # noqa: F401  so that gin knows what the texts bind
from tf_frozen.config import gin_files
from tf_frozen.config.load import load_config
from tf_frozen.errors import UserError

MUTATIONS = 2000
PIECES = (
    *(
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        "%",
        "@",
        "/",
        ".",
        ",",
        ":",
        "=",
        "#",
        "\\",
        "\\0",
        "-",
        "\t",
        "\n",
        "\r",
        "\0",
        "\ufeff",
    ),
    *('"', "'", '"""', "()", "{[]: 1}", "[" * 400, "é", "\udce9", "²", "include ", "import ", "from ", "None", "True"),
    *("1e999", "-0", "0x", "00", "9" * 400, "1_000", "nan", "@FPN()", "%NECK", "%gin.REQUIRED", "@gin.macro", "a/b/"),
    *("gin.macro.value = 3", "macro", "REQUIRED", "@gin.singleton()", "lambda: 1", "b'x'", "f'{x}'", "...", "1j"),
)


def mutated(text, random_numbers):
    """Deletes, repeats, swaps or inserts pieces of a text, up to four times."""
    for _ in range(random_numbers.randint(1, 4)):
        start, end = sorted(random_numbers.randrange(len(text) + 1) for _ in range(2))
        end = min(end, start + random_numbers.choice((1, 3, 30)))
        part = text[start:end]
        piece = random_numbers.choice((*PIECES, part * 2, part[::-1], part.swapcase(), ""))
        text = text[:start] + piece + text[random_numbers.choice((start, end)) :]
    return text


class FuzzTest(tf.test.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.texts = [gin_files.find(name).text for name, _ in gin_files.shipped() if "official/" not in name]
        cls.lines = [line for text in cls.texts for line in text.splitlines() if line and not line.startswith("#")]

    def setUp(self):
        super().setUp()
        self.addCleanup(gin.clear_config)
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(self.enter_context(tempfile.TemporaryDirectory()))

    def refused(self, files, params):
        """Whether the texts are refused, with a message of the package's."""
        try:
            load_config(files, params)
        except UserError as error:
            self.assertNotEmpty(str(error))
            self.assertLess(max(map(len, str(error).splitlines())), 2000)
            return True
        return False

    @pytest.mark.slow
    def test_parameters(self):
        refused = 0
        for seed in range(MUTATIONS):
            random_numbers = random.Random(seed)
            params = [mutated(random_numbers.choice(self.lines), random_numbers) for _ in range(2)]
            with self.subTest(seed=seed):
                refused += self.refused(["necks/fpn_small.gin", "norms/batch_norm.gin"], params)
        self.assertBetween(refused, 0.5 * MUTATIONS, MUTATIONS)

    @pytest.mark.slow
    def test_files(self):
        refused = 0
        for seed in range(MUTATIONS // 3):
            random_numbers = random.Random(seed)
            text = mutated(random_numbers.choice(self.texts), random_numbers).encode("utf-8", "surrogatepass")
            if random_numbers.random() < 0.1:
                place = random_numbers.randrange(len(text))
                text = text[:place] + random_numbers.choice((b"\xff", b"\x80", b"\xc3")) + text[place:]
            with open("mutated.gin", "wb") as file:
                file.write(text)
            with self.subTest(seed=seed):
                refused += self.refused(["mutated.gin"], [])
        self.assertBetween(refused, 0.3 * MUTATIONS // 3, MUTATIONS // 3)


if __name__ == "__main__":
    tf.test.main()
