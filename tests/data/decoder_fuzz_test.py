"""Damaged image files of every format: no process dies, and every error is one that callers expect."""

import json
import os
import random
import struct
import subprocess
import sys

import pytest
import tensorflow as tf

from tests.data.image_samples import samples

SEED, ROUNDS, SECONDS = 0, 100, 45

# Decodes files as checks do and as an export does, for a number of seconds, and prints a line before and after each.
WORKER = """
import json, sys, time
import tensorflow as tf
from tf_frozen.data.checks.images import Header, inspect_file
from tf_frozen.data.exif import orientation
from tf_frozen.data.images import decode

@tf.function(input_signature=[tf.TensorSpec([], tf.string)])
def served(contents):
    return decode(contents, orientation(contents))

end = time.monotonic() + float(sys.argv[1])
for path in sys.stdin.read().splitlines():
    if time.monotonic() > end:
        break
    print(path, flush=True)
    looked = inspect_file(path, decode=True)
    try:
        size = served(tf.io.read_file(path)).shape[:2].as_list()
    except tf.errors.InvalidArgumentError as error:
        size = None
    print(json.dumps([size, looked[:2] if isinstance(looked, Header) else looked.message]), flush=True)
"""


def mutated(contents, others, chance):
    """The file with a few damages of one kind: bits, bytes, fields, a cut, a hole, a repetition, another's tail."""
    changed, kind = bytearray(contents), chance.randrange(7)
    for _ in range(chance.randint(1, 4)):
        near = min(len(changed) - 4, 64) if chance.random() < 0.6 else len(changed) - 4
        at, end = sorted((chance.randrange(near), chance.randrange(near)))
        if kind == 0:
            changed[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            changed[at] = chance.choice((0, 1, 0x7F, 0x80, 0xFF))
        elif kind == 2:
            struct.pack_into("<H", changed, at, chance.choice((0, 1, 4, 0x1000, 0x7FFF, 0xFFFF)))
        elif kind == 3 and end > at:
            return bytes(changed[:end])
        elif kind == 4:
            del changed[at : min(end, at + 40)]
        elif kind == 5:
            changed[at:at] = changed[at : min(end, at + 300)]
        elif kind == 6:
            return bytes(changed[:at]) + chance.choice(others)[at:]
        if len(changed) < 8:
            break
    return bytes(changed)


class DecoderFuzzTest(tf.test.TestCase):
    @pytest.mark.slow
    def test_damaged_files_never_end_a_process_and_what_passes_the_checks_is_decoded(self):
        chance, files = random.Random(SEED), samples()
        everything = list(files.values())
        paths = []
        for number in range(ROUNDS):
            for name, contents in files.items():
                paths.append(os.path.join(self.get_temp_dir(), f"{number}_{name}"))
                with open(paths[-1], "wb") as file:
                    file.write(mutated(contents, everything, chance) if number else contents)
        command = [sys.executable, "-c", WORKER, str(SECONDS)]
        process = subprocess.run(command, input="\n".join(paths), capture_output=True, text=True)

        lines = process.stdout.splitlines()
        self.assertEqual(process.returncode, 0, f"{lines[-1:]} {process.stderr[-3000:]}")
        results = [json.loads(line) for line in lines[1::2]]
        self.assertGreater(len(results), 5 * len(files))
        for path, (served, checked) in zip(lines[::2], results, strict=True):
            if not isinstance(checked, str):
                self.assertEqual(served, checked, path)
        self.assertContainsSubset([served is None for served, _ in results], [True, False])


if __name__ == "__main__":
    tf.test.main()
